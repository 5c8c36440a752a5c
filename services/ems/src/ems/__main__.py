"""`python -m ems` runs one EMS instance from its environment."""

from ems.app import main

main()
