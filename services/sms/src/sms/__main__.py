"""`python -m sms` starts the SMS from its environment."""

from sms.app import main

if __name__ == "__main__":
    main()
