"""What an NMS does, one file per noun's life. Called by `api` and `worker`; each verb is one transaction or
says why it is not. No I/O of their own: everything comes through `nms.ports`.
"""
