"""XML as it may come from a device: parsed once, without entities or DTD, capped in depth.

`exchange` parses with it; whoever writes RPCs takes `escape` from here.
"""

from __future__ import annotations

from xml.sax.saxutils import escape as _escape

from lxml import etree

from ems.adapters.netconf.errors import ProtocolViolation


class Reader:
    """A parser of one session's messages. `depth` is the most levels of elements that a message may have."""

    def __init__(self, *, depth: int) -> None:
        self._depth = depth
        self._parser = etree.XMLParser(
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
            collect_ids=False,
        )
        self._too_deep = etree.XPath(f"boolean({'/*' * (depth + 1)})")

    def parse(self, message: bytes) -> etree._Element:
        """The root element; `ProtocolViolation` for anything that a NETCONF peer must not send."""
        try:
            root = etree.fromstring(message.lstrip(), self._parser)
        except (etree.XMLSyntaxError, ValueError) as error:
            raise ProtocolViolation(f"the device sent no well-formed XML: {error}"[:300]) from None
        if root.getroottree().docinfo.internalDTD is not None:
            raise ProtocolViolation("the device sent a document type declaration")
        if self._too_deep(root):
            raise ProtocolViolation("the device sent too deep a document", limit=self._depth)
        return root


def escape(text: str) -> str:
    """`text` as element content or as the value of an attribute in double quotes."""
    return _escape(text, {'"': "&quot;"})
