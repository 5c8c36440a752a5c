"""`python -m ems` runs one EMS instance from its environment."""

from ems.app import main

if __name__ == "__main__":
    main()
