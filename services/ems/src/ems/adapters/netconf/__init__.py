"""NETCONF (RFC 6241) over SSH (RFC 6242): our own session, and the adapter that drives devices with it.

From the wire up: `framing`, `xml` and `errors`; `exchange` matches answers to RPCs without I/O; `session`
puts it on asyncssh; `operations` writes RPCs; `quantum_node` and `state` turn XML into our model and back;
`device` takes the steps of a network-wide commit; `adapter` connects. Only `app` and benches import it.
"""
