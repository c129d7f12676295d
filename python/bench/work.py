"""What the tasks do: functions of a module, which any pool can send to its worker processes by name."""
PAGE_BYTES = 4096
PLUS_ONE = bytes((byte + 1) % 256 for byte in range(256))


def answer(number):
    return number + 1


def touch(payload):
    """Adds one to a byte of each page, and returns what it was given: a bytearray, or an array of bytes."""
    if isinstance(payload, bytearray):
        payload[::PAGE_BYTES] = payload[::PAGE_BYTES].translate(PLUS_ONE)
    else:
        payload[::PAGE_BYTES] += 1
    return payload
