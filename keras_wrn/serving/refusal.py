"""A request that is not answered: the code of gRPC, the status of HTTP, and a sentence."""

from keras_wrn.errors import InputError

# TF Serving answers with the statuses of Google's APIs (google/rpc/code.proto); 413 is HTTP's own.
HTTP_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class Refusal(InputError):  # noqa: N818 - an answer to a client
    """A request is refused or failed.

    Attributes:
        code: a name of gRPC's codes, a key of HTTP_STATUSES.
        status: the status of HTTP.
    """

    def __init__(self, sentence: str, code: str = "INVALID_ARGUMENT", status: int = 0) -> None:
        super().__init__(sentence)
        self.code = code
        self.status = status or HTTP_STATUSES[code]
