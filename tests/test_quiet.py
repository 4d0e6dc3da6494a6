"""What a library says while it tries stays off the terminal; what goes wrong does not."""

import logging

from autofreeze.quiet import quiet


def test_remarks_are_withheld_errors_are_not_and_the_level_comes_back(caplog):
    logger = logging.getLogger("talkative.library")
    before = logger.level
    with quiet("talkative.library"):
        logger.warning("trying again")
        logger.error("gave up")
    logger.warning("later")
    assert [record.message for record in caplog.records] == ["gave up", "later"]
    assert logger.level == before
