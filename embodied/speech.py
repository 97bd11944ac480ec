"""Speaks: `Say` after `Say`, synthesised ahead of playing, held, resumed and cut to the sample, and accounted for.

A `Say` goes: waiting → written (its voice runs in a thread, at most `ahead_s` before the speaker) → heard, or cut.
The speaker's own report of what has left it drives everything that is told: `PlayStarted`, `Played`, `Outcome`.
"""

import asyncio
from collections.abc import Iterator
from functools import partial

import numpy as np

from embodied.errors import VoiceError
from embodied.ledger import Playout
from embodied.ports import Chunk, Sound, Voice
from embodied.utterance import Utterance, say_outcome
from streams.clock import Clock
from streams.ports import Publisher, Speaker
from streams.topics import FEEDBACK
from streams.types import Action, Fault, Outcome, PlayStarted, Samples, Say
from streams.worker import Worker

_NONE: Iterator[Chunk] = iter(())
UNHEARD = "nobody could hear it: the loudspeaker is gone"


class SpeechActuator:
    """`embodied.ports.Actuator` for `Say`. Made inside the running loop; the speaker must sound at the voice's rate.

    Says are spoken in the order in which they are performed. ahead_s: how far synthesis may run before the speaker
    gap_ms: silence between a Say and the one that follows it at once
    fence: nothing of turns up to this one is heard;  volume: 0 to 1, of what is synthesised from now on
    sound: where a `Say` with a `source` comes from, instead of the voice; at the speaker's rate

    `cut`, `pause` and `resume` act within one block of the speaker and return at once. A `Say` none of which was heard
    when it was cut ends as "fenced", else as "cut" (or "done" if every word had been heard); its result is the
    text up to the last word heard, as written (of a sound without text: its words). A `Say` with neither text nor
    source is done at once. A voice that fails ends its `Say` as "failed", is told by a
    `Fault`, and the next `Say` is tried. In virtual time the voice is called inline and its cost charged.

    When the speaker has given up (`Speaker.listen`'s `gone`), every `Say` that waits or sounds ends as "failed", with
    what had been heard of it; one that is performed later is given to the speaker again, and ends in the same way
    unless its device has come back.
    """

    name = "speech"
    accepts: tuple[type, ...] = (Say,)

    def __init__(
        self,
        voice: Voice,
        speaker: Speaker,
        publisher: Publisher,
        clock: Clock,
        *,
        ahead_s: float = 5.0,
        gap_ms: int = 150,
        sound: Sound | None = None,
    ) -> None:
        if voice.rate != speaker.rate:
            raise ValueError(f"voice {voice.name} gives {voice.rate} Hz and the speaker takes {speaker.rate} Hz")
        if sound is not None and sound.rate != speaker.rate:
            raise ValueError(f"the sound comes at {sound.rate} Hz and the speaker takes {speaker.rate} Hz")
        self.fence = -1
        self.volume = 1.0
        self._voice = voice
        self._sound = sound
        self._speaker = speaker
        self._publisher = publisher
        self._clock = clock
        self._ahead = round(ahead_s * speaker.rate)
        self._batch = speaker.rate // 4
        self._gap = np.zeros(speaker.rate * gap_ms // 1000, np.int16)
        self._queue: list[Utterance] = []
        self._playout = Playout(speaker.rate)
        self._held: int | None = None  # speech of turns up to this one is paused
        self._voice_free = asyncio.Lock()  # first come, first served
        self._progress = asyncio.Event()
        self._flushing = 0  # flushes of the speaker that it has not told the end of
        self._worker = Worker(clock, "voice")
        self._closed = False
        speaker.listen(self._sounded, self._gone)

    async def perform(self, action: Action) -> Outcome:
        """Speak a `Say` and return once it has been heard, or cut. Cancelling cuts it and returns what was heard."""
        if not isinstance(action, Say):
            raise TypeError(f"speech takes Say, not {type(action).__name__}")
        if action.turn <= self.fence:
            self._forget(action)
            return say_outcome(action, "fenced", "", "its turn had been cut")
        if not action.source and not action.text.strip():
            return say_outcome(action, "done", "")
        utterance = Utterance(action, asyncio.get_running_loop().create_future())
        self._queue.append(utterance)
        try:
            await self._synthesise(utterance)
            return await utterance.over
        except asyncio.CancelledError:
            self._drop([utterance])
            over = utterance.over
            done = over.done() and not over.cancelled()
            return over.result() if done else utterance.ended(self._playout.played)

    def cut(self, turn: int) -> None:
        """Fence every turn up to `turn`: what sounds of it ends within a block, what waits is never heard."""
        self.fence = max(self.fence, turn)
        self._drop([utterance for utterance in self._queue if utterance.say.turn <= self.fence])
        if self._held is not None and self._held <= self.fence:
            self._held = None
        self._hold()

    def pause(self, turn: int) -> None:
        """Silence from the next block on, if what sounds is of a turn up to `turn`; the place is kept."""
        self._held = turn if self._held is None else max(turn, self._held)
        self._hold()

    def resume(self, turn: int) -> None:
        """Go on from the very sample at which `pause` stopped."""
        if self._held is not None and self._held <= turn:
            self._held = None
        self._hold()

    async def halt(self) -> None:
        """Cut all that is being said or waits, whatever its turn. What is said afterwards is heard."""
        self._drop(list(self._queue))
        self._held = None
        self._hold()

    async def aclose(self) -> None:
        """End the voice and its thread; waits for a call in progress off the loop and bounded. Idempotent."""
        if not self._closed:
            self._closed = True
            self._drop(list(self._queue))
            self._voice.close()
            await self._worker.aclose()

    # --- from text to the speaker

    async def _synthesise(self, utterance: Utterance) -> None:
        async with self._voice_free:
            if utterance.was_cut():
                return
            chunks, cost = _NONE, self._voice.cost
            try:
                chunks = self._chunks(utterance.say)
                while not utterance.was_cut():
                    wanted = self._batch if utterance.samples else 1
                    batch = await self._worker.work(cost, _take, chunks, wanted)
                    cost = 0
                    if utterance.was_cut():  # while the voice was at it: what it made is dropped
                        return
                    if not batch:
                        break
                    self._write(utterance, batch)
                    await self._room(utterance)
            except VoiceError as error:
                utterance.failure = str(error)
                if not self._closed:  # closing ends the voice in mid-word
                    fault = Fault(where="voice", error=type(error).__name__, message=str(error))
                    self._publisher.publish(FEEDBACK, self._clock.now(), fault)
            finally:
                self._close(chunks)
            utterance.complete = True
            self._settle()

    def _chunks(self, say: Say) -> Iterator[Chunk]:
        if not say.source:
            return self._voice.speak(say.text, pace=say.pace, tone=say.tone)
        if self._sound is None:
            raise VoiceError(f"there is no sound {say.source!r}: no model that speaks is part of this agent")
        return self._sound.chunks(say.source)

    def _forget(self, say: Say) -> None:
        """Nothing more of `say` will be asked for."""
        if say.source and self._sound is not None:
            self._sound.cancel(say.source)

    def _write(self, utterance: Utterance, batch: list[Chunk]) -> None:
        account = utterance.account
        for chunk in batch:
            if len(chunk.samples):
                samples = chunk.samples
                if self.volume != 1.0:
                    samples = (samples * self.volume).astype(np.int16)
                if not self._flushing:  # else it is written when the speaker has told where it is
                    begin = self._begin(utterance, samples)
                    if account.base is None:
                        account.base = begin
                utterance.pieces.append(samples)
                utterance.samples += len(samples)
            account.marks += chunk.marks
        self._tell(utterance)  # marks may come after their sound
        self._hold()

    def _begin(self, utterance: Utterance, samples: Samples) -> int:
        """Write `samples`, after a gap if they begin an utterance right behind another."""
        speaker = self._speaker
        if utterance.account.base is None and len(self._gap) and self._pending() > 0:
            speaker.write(self._gap)
        return speaker.write(samples)

    def _pending(self) -> int:
        """Samples written that have not left the speaker yet, by its reports."""
        return (
            max((each.end for each in self._queue if each.account.base is not None), default=0) - self._playout.played
        )

    async def _room(self, utterance: Utterance) -> None:
        while self._pending() > self._ahead and not utterance.was_cut():
            self._progress.clear()
            await self._progress.wait()

    def _close(self, chunks: Iterator[Chunk]) -> None:
        """End the iterator where it runs: in the voice's thread, behind the call that may be in progress."""
        if self._clock.virtual:
            _end(chunks)
        elif not self._worker.closed:
            self._worker.begin(_end, chunks)

    # --- what has been heard

    def _sounded(self, played: int, t: int) -> None:
        """Listener of the speaker."""
        self._playout.add(played, t)
        for utterance in list(self._queue):
            self._tell(utterance)
        self._settle()
        self._hold()
        self._progress.set()

    def _gone(self) -> None:
        """The speaker cannot be heard: nothing more of what is queued will be."""
        for utterance in self._queue:
            if not utterance.was_cut():
                utterance.unheard = UNHEARD
        self._drop(list(self._queue))
        self._hold()

    def _tell(self, utterance: Utterance) -> None:
        account = utterance.account
        if account.base is None or account.base >= min(self._playout.played, utterance.end):
            return
        if not utterance.started:
            utterance.started = True
            say = utterance.say
            started = PlayStarted(turn=say.turn, id=say.id)
            self._publisher.publish(FEEDBACK, self._playout.begun(account.base), started)
        for word in account.heard(self._playout):
            self._publisher.publish(FEEDBACK, word.end_ns, word)

    def _settle(self) -> None:
        """Let go of the utterances that are over, and say how they ended."""
        for utterance in list(self._queue):
            if not utterance.known:
                continue  # the speaker will tell
            if utterance.end > self._playout.played or utterance.held_back:
                if not utterance.was_cut():
                    break  # those behind it wait, unless cut
            elif utterance.was_cut() or utterance.complete:
                self._queue.remove(utterance)
                if not utterance.over.done():
                    utterance.over.set_result(utterance.ended(self._playout.played))
            else:
                break
        oldest = [utterance.account.base for utterance in self._queue if utterance.account.base is not None]
        self._playout.forget(min(oldest, default=self._playout.played))

    # --- holding and cutting

    def _hold(self) -> None:
        """Pause or resume the speaker, as what is at the head of the queue asks for."""
        head = next((utterance for utterance in self._queue if not utterance.was_cut()), None)
        if self._held is not None and (head is None or head.say.turn <= self._held):
            self._speaker.pause()
        else:
            self._speaker.resume()

    def _drop(self, utterances: list[Utterance]) -> None:
        """Cut `utterances`: flush the speaker, and give back to it what was not theirs."""
        dropped = [utterance for utterance in utterances if not utterance.was_cut() and utterance in self._queue]
        if not dropped:
            return
        for utterance in dropped:
            utterance.cut = True
            self._forget(utterance.say)
        self._flushing += 1
        self._speaker.flush(partial(self._flushed, dropped))

    def _flushed(self, dropped: list[Utterance], heard: int) -> None:
        """The speaker tells how far it has got: `dropped` end there, and what else it lost is written again."""
        self._flushing -= 1
        for utterance in dropped:
            account = utterance.account
            account.limit = min(heard, account.base + utterance.samples) if account.base is not None else 0
        for utterance in self._queue:
            if not utterance.was_cut() and not self._flushing:
                self._rewrite(utterance, heard)
        self._settle()
        self._progress.set()

    def _rewrite(self, utterance: Utterance, heard: int) -> None:
        """Queue again what a flush took from an utterance that goes on, and what was synthesised meanwhile."""
        base = utterance.account.base
        done = 0 if base is None else max(0, heard - base)
        if done < utterance.samples:
            begin = self._speaker.write(np.concatenate(utterance.pieces)[done:])
            utterance.account.base = begin - done


def _take(chunks: Iterator[Chunk], wanted: int) -> list[Chunk]:
    """At least `wanted` samples of `chunks`; fewer at their end."""
    batch: list[Chunk] = []
    count = 0
    for chunk in chunks:
        batch.append(chunk)
        count += len(chunk.samples)
        if count >= wanted:
            break
    return batch


def _end(chunks: Iterator[Chunk]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
