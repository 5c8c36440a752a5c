"""`python -m nms` runs one NMS instance from its environment."""

from nms.app import main

if __name__ == "__main__":
    main()
