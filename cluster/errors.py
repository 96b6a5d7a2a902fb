"""The two ways in which a whole request can end badly.

Works on: sentences for the person who asked. Knows nothing about images, shapes or Ray.
A failure of one image is not here: it is a row in the manifest (`workers.failure.ItemError`).
"""


class RequestError(Exception):
    """The request itself is wrong: a bad option, configuration key, file or address.

    The message is one sentence that names the option, key or file and says what to do.
    The command line prints it and exits with status 2.
    """


class RunError(Exception):
    """The request was good, but the run cannot go on (store lost, every actor given up, budget exceeded).

    What was committed stays committed. The command line prints the sentence and exits with status 1.
    """
