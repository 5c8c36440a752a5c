"""`python -m nms` runs one NMS instance from its environment."""

from nms.app import main

main()
