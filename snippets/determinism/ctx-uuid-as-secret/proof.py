"""A stranger asks for a password reset, and reads nothing but the headers of the answer."""

from random import Random
from uuid import UUID

from restate_guide.lab import PLAIN, Aside, Holds, Lab, SecretExposed

RULE = "RDD107"
STIMULUS = PLAIN
MAILED = Holds(answers=["email-1"], effects={"POST /emails": 1})
EXPECTED = {
    "do": MAILED,
    "dont": SecretExposed(known_from="the answer's header x-restate-id"),
}
ASIDES = {
    "seeds": Aside(
        "With `experimental-enable-unique-random-seeds`, the id no longer tells the token.",
        snippet="dont",
        stimulus=PLAIN,
        outcome=MAILED,
        server={"RESTATE_EXPERIMENTAL_ENABLE_UNIQUE_RANDOM_SEEDS": "true"},
    ),
}
VARIES = {"token": r"(?<![\w-])[\w-]{43}(?![\w-])"}

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORD = (1 << 64) - 1


async def prove(lab: Lab) -> None:
    await lab.call("Accounts/reset_password", "ada@example.com")
    mailed = lab.outside.ledger[0].body["token"]
    if mailed == str(first_uuid(lab.invocation_ids[0])):
        lab.measure("secret known from", "the answer's header x-restate-id")


def first_uuid(invocation_id: str) -> UUID:
    """What `ctx.uuid()` gives first in an invocation, computed from its public id alone.

    The server hands the SDK a seed, which is SipHash-1-3 (without a key) of the id's 24 bytes and
    their number. The id holds these bytes as two little-endian numbers in base 62.
    """
    digits = invocation_id.removeprefix("inv_1")
    key = from_base62(digits[:11]).to_bytes(8, "little")
    uuid = from_base62(digits[11:]).to_bytes(16, "little")
    seed = siphash_1_3((24).to_bytes(8, "little") + key + uuid)
    return UUID(int=Random(seed).getrandbits(128), version=4)


def from_base62(digits: str) -> int:
    number = 0
    for digit in digits:
        number = 62 * number + DIGITS.index(digit)
    return number


def siphash_1_3(data: bytes) -> int:
    """SipHash with one round for each word and three at the end, its key being zero."""
    state = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]

    def rotate(word: int, bits: int) -> int:
        return (word << bits | word >> 64 - bits) & WORD

    def mix(rounds: int) -> None:
        a, b, c, d = state
        for _ in range(rounds):
            a = a + b & WORD
            c = c + d & WORD
            b = rotate(b, 13) ^ a
            d = rotate(d, 16) ^ c
            a = rotate(a, 32) + d & WORD
            c = c + b & WORD
            d = rotate(d, 21) ^ a
            b = rotate(b, 17) ^ c
            c = rotate(c, 32)
        state[:] = a, b, c, d

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        state[3] ^= word
        mix(1)
        state[0] ^= word
    state[2] ^= 0xFF
    mix(3)
    return state[0] ^ state[1] ^ state[2] ^ state[3]
