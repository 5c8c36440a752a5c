"""`python -m emulator` is `bellweave-element`."""

from emulator.command import main

if __name__ == "__main__":
    main()
