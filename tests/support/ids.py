"""An id for the parameters of tests, whose names have to be the same in every process that runs a part of them."""

SOME_ID = "0b6c5f0e-3d8f-4f0b-9f43-5f5d9a2f6c11"
