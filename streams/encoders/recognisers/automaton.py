"""Makes a grammar's automaton small: states with the same future become one.

pocketsphinx compiles every use of a JSGF rule anew and keeps its empty transitions. Its search looks at every state
times every phone in every frame (`fsg_history_end_frame`), so that most of its time goes into states in which nothing
happens: 3472 states for the 259 words of the default sentences, 471 after this, and the search takes 0.43 of the time.
What can be said, and with what probability, is unchanged.
"""

import heapq
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

LEAST = 1e-4  # a file tells probabilities to 1e-6: smaller ones are products, and worked out again from their factors


class Automaton(NamedTuple):
    """states: how many;  words: (from, to, probability, word);  empty: {from: {to: probability}}"""

    states: int
    start: int
    final: int
    words: list[tuple[int, int, float, str]]
    empty: dict[int, dict[int, float]]

    @classmethod
    def of(cls, grammar: Any, path: Path) -> "Automaton":
        """From pocketsphinx's `FsgModel`, by way of a file at `path`, without the fillers it puts in by itself."""
        grammar.writefile(str(path))
        states = start = final = 0
        words: list[tuple[int, int, float, str]] = []
        empty: dict[int, dict[int, float]] = defaultdict(dict)
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, *fields = line.split()
            if kind == "TRANSITION":
                begin, end, probability = int(fields[0]), int(fields[1]), float(fields[2])
                if len(fields) == 3:
                    if probability >= LEAST:
                        empty[begin][end] = max(probability, empty[begin].get(end, 0.0))
                elif fields[3][0] not in "<[" and fields[3][-1] != ")":
                    words.append((begin, end, probability, fields[3]))
            elif kind == "NUM_STATES":
                states = int(fields[0])
            elif kind == "START_STATE":
                start = int(fields[0])
            elif kind == "FINAL_STATE":
                final = int(fields[0])
        return cls(states, start, final, words, empty)

    def minimal(self) -> "Automaton":
        """The same sentences at the same probabilities, with as few states as have futures of their own."""
        steps: dict[int, list[tuple[int, float, str]]] = defaultdict(list)
        for begin, end, probability, word in self.words:
            steps[begin].append((end, probability, word))
        ends: dict[int, float] = {}
        following: dict[int, dict[tuple[str, int], float]] = {}
        todo = [self.start]
        while todo:  # of the states that can be reached: the words that can come next, and whether it may end
            state = todo.pop()
            if state in following:
                continue
            near = self._near(state)
            ends[state] = near.get(self.final, 0.0)
            best = following[state] = {}
            for middle, probability in near.items():
                for end, factor, word in steps[middle]:
                    best[word, end] = max(probability * factor, best.get((word, end), 0.0))
                    todo.append(end)
        group = dict.fromkeys(following, 0)
        count = 0
        while True:
            kinds: dict[Any, int] = {}
            finer = {
                state: kinds.setdefault((group[state], f"{ends[state]:.6g}", _future(best, group)), len(kinds))
                for state, best in following.items()
            }
            group = finer
            if len(kinds) == count:
                break
            count = len(kinds)
        one = {number: state for state, number in group.items()}
        words: list[tuple[int, int, float, str]] = []
        empty: dict[int, dict[int, float]] = {}
        for number, state in one.items():
            merged: dict[tuple[str, int], float] = {}
            for (word, end), probability in following[state].items():
                place = (word, group[end])
                merged[place] = max(probability, merged.get(place, 0.0))
            words += [(number, end, probability, word) for (word, end), probability in merged.items()]
            if ends[state]:
                empty[number] = {count: ends[state]}
        return Automaton(count + 1, group[self.start], count, words, empty)

    def _near(self, state: int) -> dict[int, float]:
        """The states that can be reached without a word, with the probability of the best way there."""
        near: dict[int, float] = {}
        queue = [(-1.0, state)]
        while queue:
            probability, here = heapq.heappop(queue)
            if here not in near:
                near[here] = -probability
                for there, factor in self.empty.get(here, {}).items():
                    if there not in near:
                        heapq.heappush(queue, (probability * factor, there))
        return near

    def text(self) -> str:
        """In the format that `Decoder.read_fsg` reads."""
        lines = [f"NUM_STATES {self.states}", f"START_STATE {self.start}", f"FINAL_STATE {self.final}"]
        lines += [f"TRANSITION {begin} {end} {p:.9g} {word}" for begin, end, p, word in self.words]
        lines += [f"TRANSITION {begin} {end} {p:.9g}" for begin, ends in self.empty.items() for end, p in ends.items()]
        return "\n".join(["FSG_BEGIN grammar", *lines, "FSG_END", ""])


def _future(best: dict[tuple[str, int], float], group: dict[int, int]) -> frozenset[tuple[str, int, str]]:
    merged: dict[tuple[str, int], float] = {}
    for (word, end), probability in best.items():
        place = (word, group[end])
        merged[place] = max(probability, merged.get(place, 0.0))
    return frozenset((word, end, f"{probability:.6g}") for (word, end), probability in merged.items())
