"""`python -m bms` starts the BMS from its environment."""

from bms.app import main

if __name__ == "__main__":
    main()
