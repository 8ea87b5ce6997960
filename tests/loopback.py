"""What clients of servers on this machine share."""

import ssl

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of clients of plain HTTP: each that is made without one reads every certificate of the machine, for 40 ms of CPU."""
