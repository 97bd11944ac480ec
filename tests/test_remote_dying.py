"""A command that is sent in the very instant in which the broker dies: its outcome says what is not known."""

from tests.remote_room import attached, move, virtual


def test_its_outcome_says_that_it_is_not_known_and_it_is_waited_for_no_longer_than_its_time_and_some_seconds() -> None:
    async def main() -> None:
        async with attached() as here:
            client = here.bodies[0].client
            await here.do(move(0.1))
            task = here.do(move(0.2, turn=2))
            await here.until(lambda: client.errands.open)
            (errand,) = client.errands.open.values()
            here.broker.stop()
            await here.until(task.done, errand.timeout / 1e9 + 6)
            outcome = task.result()
            assert outcome.status == "timeout" and "not known" in outcome.detail
            assert not client.errands.open

    virtual(main)


def test_the_end_of_the_session_does_not_wait_for_it() -> None:
    async def main() -> None:
        async with attached() as here:
            client = here.bodies[0].client
            task = here.do(move(0.2))
            await here.until(lambda: client.errands.open)
            here.broker.stop()
            await here.wait(0.1)
            begun = here.clock.now()
            await here.bodies[0].leave()
            task.cancel()
            for each in here.serving:
                each.cancel()
            await here.until(lambda: task.done() and all(each.done() for each in here.serving), 2)
            assert task.result().status == "cut" and here.clock.now() - begun < 3e9

    virtual(main)
