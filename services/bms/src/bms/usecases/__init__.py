"""What can be done here, one file per noun; each verb in one transaction, given as a `Unit`."""
