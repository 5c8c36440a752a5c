"""`python -m bellweave` is the same as `bellweave`."""

from bellweave.main import main

if __name__ == "__main__":
    main()
