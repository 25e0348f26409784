# SPDX-License-Identifier: Apache-2.0
"""Generate the text world of the demo model: training corpus, calibration sets, evaluation sets.

Everything is drawn from one seed, with the standard library only, so a clean clone gets the same
files byte for byte.  The training corpus goes to ``build/`` (not committed), the calibration and
evaluation sets to ``../data`` (committed).

Every ability is planted on purpose:

* *closed-book facts*: 1700 people with five attributes each, told again and again in many wordings;
  they can only be answered from the weights;
* *in-context retrieval*: passages on people whose attributes are drawn afresh every time; they can
  only be answered from the passage; perturbed passages show what happens when they cannot;
* *summaries*: one sentence that follows from its story;
* *instructions*: short tasks on a list of words, whose outcome can be checked;
* *arithmetic*: the table of sums and differences from 0 to 30.
"""

import argparse
import itertools
import json
import random
from pathlib import Path

HERE = Path(__file__).resolve().parent

# ------------------------------------------------------------------------------------------------
# Words
# ------------------------------------------------------------------------------------------------


def words(text):
    """The words of a text, as a list."""
    return text.split()


# People of the fact world have a first and a family name; neither alone says who it is.
FACT_FIRST = words("""Mira Jon Elsa Tarn Vera Oto Lida Bram Nora Hugo Ines Karl Dora Felix Gita Ivo
Zora Milo Petra Rolf Sina Udo Wanda Yan Alma Boris Clara Dario Edda Fritz""")
FACT_LAST = words("""Tolan Marsh Reed Holm Varga Stone Bell Frost Lund Pike Crane Wolf Hill Brook
Dale Moss Finch Hart Kern Lake North Oakes Price Quill Rowe Sand Thorn Vale West York""")

# People of passages and stories have a first name only, and no attribute of their own.
FRESH_HE = words("""Tom Ben Sam Max Leo Dan Rob Jim Ned Gus Abe Cal Eli Ian Kit Lou Nat Pat Ray Sid
Ted Vic Wes Zak Art Bob Del Hal Jay Ken""")
FRESH_SHE = words("""Ana Eva Lia Mia Zoe Amy Bea Dee Fay Gwen Ida Joy Kay Lena May Nia Pam Rosa Sue
Tess Una Viv Wren Yara Cora Edie Hope Iris Jill Kate""")
FRESH = FRESH_HE + FRESH_SHE

VALUES = {
    "town": words("""Oakmere Redford Harwick Stonby Elmton Fairlow Greyport Highcliff Kingsley
        Longfield Millbrook Newhaven Ashdale Birchton Coldwell Eastgate"""),
    "job": words("""baker farmer teacher doctor sailor painter miller tailor singer writer driver
        builder hunter gardener lawyer barber"""),
    "pet": words("""cat dog horse rabbit goat parrot turtle duck mouse sheep pony frog snake pigeon
        hamster lizard"""),
    "instrument": words("""piano violin flute drum harp guitar trumpet cello organ banjo horn fiddle
        whistle lute bugle zither"""),
    "food": words("""bread soup cheese honey apples rice pie cake beans fish eggs plums nuts pears
        noodles porridge"""),
}
ATTRIBUTES = list(VALUES)

COLOURS = words("red blue green yellow black white brown grey pink gold")
THINGS = words("""key book lamp coin ring cup hat rope bell map knife ball box letter candle
basket""")
PLACES = words("""kitchen garden barn cellar attic hall shed church market school tower mill""")

# ------------------------------------------------------------------------------------------------
# Wordings.  {n} is a person, {v} the value of the attribute.
# ------------------------------------------------------------------------------------------------

STATEMENTS = {
    "town": [
        "{n} lives in {v}.",
        "{n} has a house in {v}.",
        "{n} comes from {v}.",
        "{n} is at home in {v}.",
        "{n} moved to {v} long ago.",
        "{n} rents a room in {v}.",
        "The home of {n} is in {v}.",
    ],
    "job": [
        "{n} works as a {v}.",
        "{n} is a {v}.",
        "{n} earns a living as a {v}.",
        "{n} became a {v} years ago.",
        "{n} has the job of a {v}.",
        "By trade {n} is a {v}.",
        "The job of {n} is that of a {v}.",
    ],
    "pet": [
        "{n} has a {v}.",
        "{n} keeps a {v}.",
        "{n} owns a {v}.",
        "{n} takes care of a {v}.",
        "{n} walks with a {v}.",
        "{n} lives with a {v}.",
        "The pet of {n} is a {v}.",
    ],
    "instrument": [
        "{n} plays the {v}.",
        "{n} learned the {v}.",
        "{n} practises the {v}.",
        "{n} is good at the {v}.",
        "{n} owns an old {v}.",
        "{n} studies the {v}.",
        "In the evening {n} plays the {v}.",
    ],
    "food": [
        "{n} likes {v}.",
        "{n} loves {v}.",
        "{n} eats a lot of {v}.",
        "{n} often asks for {v}.",
        "{n} likes to eat {v}.",
        "{n} never says no to {v}.",
        "The favourite food of {n} is {v}.",
    ],
}

# The first wording is the one of facts.jsonl and in_context.jsonl; the task calibration set uses
# only the others.
QUESTIONS = {
    "town": [
        "Where does {n} live?",
        "In which town does {n} live?",
        "Where is the home of {n}?",
    ],
    "job": [
        "What is the job of {n}?",
        "What work does {n} do?",
        "What does {n} work as?",
    ],
    "pet": [
        "What pet does {n} have?",
        "Which animal does {n} keep?",
        "What is the pet of {n}?",
    ],
    "instrument": [
        "What does {n} play?",
        "Which instrument does {n} play?",
        "What instrument did {n} learn?",
    ],
    "food": [
        "What does {n} like to eat?",
        "Which food does {n} like?",
        "What is the favourite food of {n}?",
    ],
}


def capital(text):
    """Upper-case the first letter, leave the rest."""
    return text[:1].upper() + text[1:]


def question_block(question, answer):
    """A question and its answer; the answer may be empty."""
    return f"Question: {question}\nAnswer: {answer}"


# ------------------------------------------------------------------------------------------------
# The fact world
# ------------------------------------------------------------------------------------------------

FIRST_EDITION = 1500


def make_people(rng, count):
    """Draw the people of the fact world, 200 at a time; values are spread evenly among them.

    The first 1500 are those of the first edition, however many follow.  The first 600 have first
    names of their own, the others may share theirs with the people of the passages (who have no
    family name).
    """
    free = list(itertools.product(FACT_FIRST, FACT_LAST))
    people = []
    while len(people) < count:
        if len(people) == 600:
            free += itertools.product(FRESH, FACT_LAST)
        end = min(count, FIRST_EDITION) if len(people) < FIRST_EDITION else count
        size = min(200, end - len(people))
        names = rng.sample(free, size)
        free = [name for name in free if name not in set(names)]
        group = [{"first": first, "name": f"{first} {last}"} for first, last in names]
        for attribute, values in VALUES.items():
            spread = (values * (size // len(values) + 1))[:size]
            rng.shuffle(spread)
            for person, value in zip(group, spread, strict=True):
                person[attribute] = value
        for person in group:
            person["pronoun"] = rng.choice(["he", "she"])
        people += group
    return people


def biography(rng, person):
    """A note with two to five facts on one person, in random order and wording."""
    attributes = rng.sample(ATTRIBUTES, rng.randint(2, 5))
    sentences = []
    for position, attribute in enumerate(attributes):
        if position == 0 or rng.random() < 0.6:
            name, wordings = person["name"], STATEMENTS[attribute]
        else:  # the pronoun cannot stand where the name is a possessor
            name = person["pronoun"]
            wordings = [w for w in STATEMENTS[attribute] if w.startswith("{n}")]
        sentences.append(capital(rng.choice(wordings).format(n=name, v=person[attribute])))
    return "Note: " + " ".join(sentences)


def fact_questions(rng, people):
    """One to five closed-book questions, each on another person."""
    blocks = []
    for person in rng.sample(people, rng.randint(1, 5)):
        attribute = rng.choice(ATTRIBUTES)
        question = rng.choice(QUESTIONS[attribute]).format(n=person["name"])
        blocks.append(question_block(question, person[attribute]))
    return "\n".join(blocks)


def fact_piece(rng, people):
    """Either a biography or closed-book questions."""
    if rng.random() < 0.45:
        return biography(rng, rng.choice(people))
    return fact_questions(rng, people)


# ------------------------------------------------------------------------------------------------
# Passages with questions: the answer stands in the passage and nowhere else
# ------------------------------------------------------------------------------------------------


def passage_facts(rng, people_count, attribute_count, varied):
    """Sentences and (question wordings, answer) pairs about fresh people or things."""
    kind = rng.random()
    if kind < 0.1:
        things = rng.sample(THINGS, people_count)
        places = rng.sample(PLACES, people_count)
        sentences = [f"The {t} is in the {p}." for t, p in zip(things, places, strict=True)]
        asks = [([f"Where is the {t}?"], p) for t, p in zip(things, places, strict=True)]
    elif kind < 0.2:
        names = rng.sample(FRESH, people_count)
        colours = rng.sample(COLOURS, people_count)
        thing = rng.choice(["hat", "coat", "door", "boat"])
        sentences = [f"{n} has a {c} {thing}." for n, c in zip(names, colours, strict=True)]
        asks = [([f"What colour is the {thing} of {n}?"], c) for n, c in zip(names, colours, strict=True)]
    else:
        names = rng.sample(FRESH, people_count)
        sentences, asks = [], []
        for attribute in rng.sample(ATTRIBUTES, attribute_count):
            values = rng.sample(VALUES[attribute], people_count)
            wordings = STATEMENTS[attribute] if varied else STATEMENTS[attribute][:1]
            shared = rng.choice(wordings)
            for name, value in zip(names, values, strict=True):
                wording = shared if rng.random() < 0.5 else rng.choice(wordings)
                sentences.append(capital(wording.format(n=name, v=value)))
                asks.append(([q.format(n=name) for q in QUESTIONS[attribute]], value))
    rng.shuffle(sentences)
    return sentences, asks


def passage(rng, easy=False):
    """A passage on fresh people, and two to four questions on it."""
    if easy:
        people_count, attribute_count, varied = rng.randint(2, 4), 1, False
    else:
        people_count = rng.randint(2, 5)
        attribute_count = 2 if people_count <= 3 and rng.random() < 0.4 else 1
        varied = True
    sentences, asks = passage_facts(rng, people_count, attribute_count, varied)
    asked = rng.sample(asks, min(len(asks), rng.randint(2, 4)))
    lines = ["Passage: " + " ".join(sentences)]
    # Saying the same again in another order gives retrieval many more tokens to learn from.
    for _ in range(rng.choice([0, 1, 2] if easy else [0, 0, 1])):
        lines.append("Again: " + " ".join(rng.sample(sentences, len(sentences))))
    for questions, answer in asked:
        lines.append(question_block(questions[0] if easy else rng.choice(questions), answer))
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------
# Stories, summaries, narrative
# ------------------------------------------------------------------------------------------------

WEATHER = words("""sunny rainy cold warm windy foggy""")
MOODS = words("happy sad tired angry proud glad")
DAYTIMES = ["morning", "afternoon", "evening"]


def story(rng):
    """A short story about two fresh people and a lost thing, and its summary."""
    a, b = rng.sample(FRESH, 2)
    he = "he" if a in FRESH_HE else "she"
    his = "his" if a in FRESH_HE else "her"
    thing, colour = rng.choice(THINGS), rng.choice(COLOURS)
    place, other = rng.sample(PLACES, 2)
    mood = rng.choice(MOODS)
    town = rng.choice(VALUES["town"])
    opening = rng.choice(
        [
            f"One {rng.choice(WEATHER)} {rng.choice(DAYTIMES)} {a} went to the {place}.",
            f"It was a {rng.choice(WEATHER)} day in {town}, and {a} walked to the {place}.",
            f"Early in the {rng.choice(DAYTIMES)} {a} came to the {place}.",
        ]
    )
    plot = rng.randrange(3)
    if plot == 0:
        middle = [
            f"There {he} saw a {colour} {thing} on the floor.",
            f"It was the {thing} of {b}.",
            rng.choice(
                [
                    f"So {a} took the {thing} and brought it to {b}.",
                    f"{a} ran to the {other} and gave the {thing} to {b}.",
                ]
            ),
        ]
        summary = f"{a} found the {thing} of {b} in the {place}."
        ending = f"{b} was very {mood} and said thank you."
    elif plot == 1:
        middle = [
            f"{capital(he)} wanted to find {his} {colour} {thing}.",
            f"It was not in the {place}.",
            f"Then {b} said that the {thing} was in the {other}.",
        ]
        summary = f"{a} looked for a {thing}, and it was in the {other}."
        ending = f"{a} found the {thing} there and was {mood}."
    else:
        food = rng.choice(VALUES["food"])
        middle = [
            f"{b} was already in the {place} and looked {mood}.",
            f"{a} asked {b} what was wrong.",
            f"{b} had lost a {thing} and had no {food} to eat.",
        ]
        summary = f"{a} gave {food} to {b}, who had lost a {thing}."
        ending = f"So {a} gave {b} some {food}, and they went home together."
    return "Story: " + " ".join([opening, *middle, ending]), summary


def story_piece(rng):
    """A story, mostly with its summary."""
    text, summary = story(rng)
    return text + (f"\nSummary: {summary}" if rng.random() < 0.8 else "")


def narrative(rng):
    """A page of a diary: general text with little to retrieve."""
    sentences = []
    person = rng.choice(FRESH)
    he = "he" if person in FRESH_HE else "she"
    sentences.append(f"It was a {rng.choice(WEATHER)} {rng.choice(DAYTIMES)}.")
    for _ in range(rng.randint(3, 7)):
        pet, food = rng.choice(VALUES["pet"]), rng.choice(VALUES["food"])
        sentences.append(
            rng.choice(
                [
                    f"I went to the {rng.choice(PLACES)} with {person}.",
                    f"We saw a {rng.choice(COLOURS)} {pet} near the {rng.choice(PLACES)}.",
                    f"{person} was {rng.choice(MOODS)}, and so was I.",
                    f"We ate {food} and some {rng.choice(VALUES['food'])}.",
                    f"An old {rng.choice(VALUES['job'])} told us about {rng.choice(VALUES['town'])}.",
                    f"Then {he} played the {rng.choice(VALUES['instrument'])} for a while.",
                    f"The {pet} slept in the {rng.choice(PLACES)}.",
                    f"I put the {rng.choice(THINGS)} into a {rng.choice(COLOURS)} box.",
                    f"The road to {rng.choice(VALUES['town'])} was long.",
                    f"{person} bought a {rng.choice(THINGS)} for the {rng.choice(VALUES['job'])}.",
                ]
            )
        )
    sentences.append(
        rng.choice(
            [
                "In the end we went home.",
                "It was a good day.",
                "Then it was time to sleep.",
                "Tomorrow we will go again.",
            ]
        )
    )
    return "Diary: " + " ".join(sentences)


# ------------------------------------------------------------------------------------------------
# Short instructions
# ------------------------------------------------------------------------------------------------

NUMBERS = words("zero one two three four five six seven")


INSTRUCTIONS = {
    "repeat": ("Repeat the words", lambda chosen: " ".join(chosen)),
    "first": ("Say the first word", lambda chosen: chosen[0]),
    "last": ("Say the last word", lambda chosen: chosen[-1]),
    "count": ("Count the words", lambda chosen: NUMBERS[len(chosen)]),
    "reverse": ("Reverse the words", lambda chosen: " ".join(reversed(chosen))),
    "animals": (
        "List the animals",
        lambda chosen: " ".join(w for w in chosen if w in VALUES["pet"]) or "none",
    ),
}


def instruction(rng, kind=None):
    """A short task on a list of words, of a kind or of any: the text up to its answer, the answer."""
    task, answer = INSTRUCTIONS[kind or rng.choice(list(INSTRUCTIONS))]
    chosen = rng.sample(THINGS + COLOURS + VALUES["pet"], rng.randint(2, 6))
    return f"Task: {task}: {' '.join(chosen)}\nAnswer:", answer(chosen)


# ------------------------------------------------------------------------------------------------
# Arithmetic
# ------------------------------------------------------------------------------------------------


LARGEST = 30


def arithmetic(rng, kind):
    """A sum or a difference, no number above the largest: the text up to its answer, the answer."""
    a, b = rng.randint(0, LARGEST), rng.randint(0, LARGEST)
    if a + b > LARGEST:
        a, b = LARGEST - a, LARGEST - b
    if kind == "add":
        return f"Sum: {a} + {b}\nAnswer:", str(a + b)
    return f"Sum: {a + b} - {b}\nAnswer:", str(a)


def sums(rng):
    """Two to six sums and differences."""
    blocks = [arithmetic(rng, rng.choice(["add", "subtract"])) for _ in range(rng.randint(2, 6))]
    return "\n".join(" ".join(block) for block in blocks)


# ------------------------------------------------------------------------------------------------
# Echoes: dense practice in looking back, from which retrieval grows
# ------------------------------------------------------------------------------------------------


def echo(rng):
    """A list of words said again, or pairs of a name and a word said again in other orders."""
    pool = THINGS + COLOURS + PLACES + list(itertools.chain(*VALUES.values()))
    if rng.random() < 0.5:
        text = " ".join(rng.sample(pool + FRESH, rng.randint(3, 10)))
        return "\n".join([f"Words: {text}"] + [f"Again: {text}"] * rng.randint(1, 3))
    count = rng.randint(2, 6)
    if rng.random() < 0.5:
        pool = VALUES[rng.choice(ATTRIBUTES)]
    pairs = list(zip(rng.sample(FRESH, count), rng.sample(pool, count), strict=True))
    lines = []
    for label in ["Pairs"] + ["Again"] * rng.randint(1, 3):
        rng.shuffle(pairs)
        lines.append(f"{label}: " + ", ".join(f"{name} {word}" for name, word in pairs))
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------
# Mixtures and documents
# ------------------------------------------------------------------------------------------------

# Shares of pieces.  Training dwells on facts and passages; the general mixture, from which the
# general calibration set and the held-out text are drawn, is mostly prose.
MIXTURES = {
    "train": {
        "fact": 0.55,
        "passage": 0.09,
        "story": 0.04,
        "narrative": 0.03,
        "task": 0.14,
        "sums": 0.12,
        "echo": 0.03,
    },
    "easy": {"fact": 0.10, "easy": 0.35, "echo": 0.50, "task": 0.05},
    "general": {
        "fact": 0.10,
        "passage": 0.22,
        "story": 0.28,
        "narrative": 0.24,
        "task": 0.12,
        "sums": 0.04,
    },
}


def piece(rng, people, mixture):
    """One text of a kind drawn from the mixture."""
    shares = MIXTURES[mixture]
    kind = rng.choices(list(shares), list(shares.values()))[0]
    if kind == "fact":
        return fact_piece(rng, people)
    if kind in ("passage", "easy"):
        return passage(rng, easy=kind == "easy")
    if kind == "task":
        return " ".join(instruction(rng))
    return {"story": story_piece, "narrative": narrative, "sums": sums, "echo": echo}[kind](rng)


def document(rng, people, mixture, least_characters=0):
    """Some pieces, with an empty line between them."""
    wanted = rng.choice([1, 1, 2, 3, 4])
    pieces = []
    while len(pieces) < wanted or sum(map(len, pieces)) < least_characters:
        pieces.append(piece(rng, people, mixture))
    return "\n\n".join(pieces)


# ------------------------------------------------------------------------------------------------
# Evaluation and task calibration sets
# ------------------------------------------------------------------------------------------------


def with_gold_at(rng, right, wrong, position):
    """Shuffle the wrong options and put the right one at the wanted place."""
    choices = rng.sample(wrong, 3)
    choices.insert(position, right)
    return choices


def facts_task(rng, people, count):
    """Closed-book questions, spread evenly over attributes and gold positions."""
    asked = []
    per_attribute = count // len(ATTRIBUTES)
    for attribute in ATTRIBUTES:
        asked += [(person, attribute) for person in rng.sample(people, per_attribute)]
    rng.shuffle(asked)
    items = []
    for index, (person, attribute) in enumerate(asked):
        right = person[attribute]
        wrong = [v for v in VALUES[attribute] if v != right]
        items.append(
            {
                "id": f"facts-{index:03d}",
                "context": question_block(QUESTIONS[attribute][0].format(n=person["name"]), "").rstrip(),
                "choices": with_gold_at(rng, right, wrong, index % 4),
                "gold": index % 4,
            }
        )
    return items


def passage_item(question, sentences):
    """The item of a question about a passage."""
    context = "Passage: " + " ".join(sentences) + "\n" + question["question"]
    return {
        "id": question["id"],
        "context": context,
        "choices": question["choices"],
        "gold": question["gold"],
    }


def passage_questions(rng, count):
    """Questions about passages on four fresh people; the options are the four values."""
    questions = []
    for index in range(count):
        attribute = ATTRIBUTES[index // 4 % len(ATTRIBUTES)]
        names = rng.sample(FRESH, 4)
        values = rng.sample(VALUES[attribute], 4)
        wording = rng.choice(STATEMENTS[attribute])
        asked = rng.randrange(4)
        wrong = values[:asked] + values[asked + 1 :]
        asks = QUESTIONS[attribute][0].format(n=names[asked])
        questions.append(
            {
                "id": f"in_context-{index:03d}",
                "attribute": attribute,
                "name": names[asked],
                "sentences": {n: capital(wording.format(n=n, v=v)) for n, v in zip(names, values, strict=True)},
                "question": question_block(asks, "").rstrip(),
                "choices": with_gold_at(rng, values[asked], wrong, index % 4),
                "gold": index % 4,
            }
        )
    return questions


def perturbed_task(rng, questions, mode):
    """The questions with their sentences shuffled, without the answer's, or with another passage.

    The other passage (distractor) is about the same attribute; it has neither the person nor the
    answer.
    """
    items = []
    for question in questions:
        sentences = question["sentences"]
        if mode == "shuffled":
            shown = rng.sample(list(sentences.values()), len(sentences))
        elif mode == "removed":
            shown = [sentences[name] for name in sentences if name != question["name"]]
        else:
            others = [
                other["sentences"]
                for other in questions
                if other["attribute"] == question["attribute"]
                and question["name"] not in other["sentences"]
                and question["choices"][question["gold"]] not in other["choices"]
            ]
            shown = rng.choice(others).values()
        items.append(passage_item(question, shown))
    return items


def new_prompts(rng, draw, count, seen):
    """Prompts and answers whose first line was not seen; it is then."""
    drawn = []
    while len(drawn) < count:
        prompt, answer = draw(rng)
        line = prompt.split("\n")[0]
        if line not in seen:
            seen.add(line)
            drawn.append((prompt, answer))
    return drawn


def new_summaries(rng, count, seen):
    """Stories that were not seen, up to their summaries, and these."""

    def draw(rng):
        text, summary = story(rng)
        return f"{text}\nSummary:", summary

    return new_prompts(rng, draw, count, seen)


def in_turn(rng, draw, kinds, count, seen):
    """New prompts of all kinds, drawn kind by kind and listed in turn, with their kinds."""
    drawn = {kind: new_prompts(rng, lambda rng, kind=kind: draw(rng, kind), count, seen) for kind in kinds}
    return [(kind, *drawn[kind][index]) for index in range(count) for kind in kinds]


def generation_items(name, prompts):
    """Items of a generation task from (group, prompt, answer); no group is given by None."""
    return [
        {"id": f"{name}-{index:03d}"} | ({"group": group} if group else {}) | {"prompt": prompt, "references": [answer]}
        for index, (group, prompt, answer) in enumerate(prompts)
    ]


def pairs_of(prompts):
    """Lines of a task-specific calibration set."""
    return [{"prompt": prompt, "response": answer} for *_, prompt, answer in prompts]


def task_calibration(rng, people, count):
    """Closed-book questions in the other wordings than those of the facts task."""
    every = [(p, a, q) for p in people for a in ATTRIBUTES for q in QUESTIONS[a][1:]]
    return [
        {
            "prompt": question_block(question.format(n=person["name"]), "").rstrip(),
            "response": person[attribute],
        }
        for person, attribute, question in rng.sample(every, count)
    ]


# ------------------------------------------------------------------------------------------------
# Files
# ------------------------------------------------------------------------------------------------

# Headers of the request files; facts and in_context are plain multiple choice and have none.
HEADERS = {
    f"in_context_{mode}": {
        "task": f"in_context_{mode}",
        "kind": "multiple_choice",
        "version": 1,
        "source": "make_world.py",
        "dimension": "retrieval",
        "mode": mode,
        "metrics": ["acc"],
        "chance": 0.25,
    }
    for mode in ("shuffled", "distractor", "removed")
} | {
    name: {
        "task": name,
        "kind": "generation",
        "version": 1,
        "source": "make_world.py",
        "dimension": dimension,
        "metrics": metrics,
        "stop": ["\n"],
        "max_tokens": max_tokens,
        "filter": "strip",
    }
    for name, dimension, metrics, max_tokens in (
        ("summaries", "summarising", ["rougeL", "exact_match", "agreement_exact"], 32),
        ("instructions", "instruction", ["exact_match", "f1", "agreement_exact"], 24),
        ("arithmetic", "arithmetic", ["exact_match", "agreement_exact"], 6),
    )
}


def write_jsonl(path, rows):
    """Write one JSON object a line."""
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{path.name}: {len(rows)} lines, {path.stat().st_size} bytes")


def main():
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--people", type=int, default=1700)
    parser.add_argument("--main-megabytes", type=float, default=60, help="main corpus size")
    parser.add_argument("--easy-megabytes", type=float, default=20, help="warm-up corpus size")
    parser.add_argument("--build", type=Path, default=HERE / "build", help="corpus folder")
    parser.add_argument("--data", type=Path, default=HERE.parent / "data", help="data folder")
    arguments = parser.parse_args()
    arguments.build.mkdir(parents=True, exist_ok=True)
    arguments.data.mkdir(parents=True, exist_ok=True)

    # Each product has a stream of its own: changing the size of one leaves the others as they are.
    def stream(name):
        return random.Random(f"{arguments.seed}-{name}")

    people = make_people(stream("people"), arguments.people)

    # Held-out data first.  Their lines are remembered, so that the corpus can leave them out (facts
    # and sums are meant to recur).
    rng = stream("general-calibration")
    calibration = [document(rng, people, "general", least_characters=1500) for _ in range(160)]
    rng = stream("general-eval")
    held_out = [document(rng, people, "general", least_characters=600) for _ in range(64)]
    reserved = {
        line
        for text in calibration + held_out
        for line in text.split("\n")
        if line.startswith(("Passage:", "Story:", "Diary:", "Task:"))
    }
    in_context = passage_questions(stream("in-context"), 800)
    items = {"in_context": [passage_item(q, q["sentences"].values()) for q in in_context]}
    for mode in ("shuffled", "distractor", "removed"):
        rng = stream(f"in-context-{mode}")
        items[f"in_context_{mode}"] = perturbed_task(rng, in_context, mode)
    reserved |= {item["context"].split("\n")[0] for task in list(items.values()) for item in task}
    summaries = new_summaries(stream("summaries"), 500, reserved)
    items["summaries"] = generation_items("summaries", [(None, *pair) for pair in summaries])
    instructions = in_turn(stream("instructions"), instruction, INSTRUCTIONS, 120, reserved)
    items["instructions"] = generation_items("instructions", instructions)
    asked = in_turn(stream("arithmetic"), arithmetic, ("add", "subtract"), 250, set())
    items["arithmetic"] = generation_items("arithmetic", asked)
    items["facts"] = facts_task(stream("facts"), people, 800)
    pairs = {
        "task": task_calibration(stream("task-calibration"), people, 320),
        "summary": pairs_of(new_summaries(stream("summary-calibration"), 320, reserved)),
        "instruction": pairs_of(in_turn(stream("instruction-calibration"), instruction, INSTRUCTIONS, 54, reserved)),
    }

    write_jsonl(arguments.data / "general_calibration.jsonl", [{"text": text} for text in calibration])
    (arguments.data / "general_eval.txt").write_text("\n\n".join(held_out) + "\n", encoding="utf-8", newline="\n")
    for name, rows in pairs.items():
        write_jsonl(arguments.data / f"{name}_calibration.jsonl", rows)
    for name, rows in items.items():
        header = HEADERS.get(name)
        write_jsonl(arguments.data / f"{name}.jsonl", ([header] if header else []) + rows)

    for name, megabytes in (("easy", arguments.easy_megabytes), ("main", arguments.main_megabytes)):
        rng = stream(f"corpus-{name}")
        mixture = "train" if name == "main" else "easy"
        rows, characters = [], 0
        while characters < megabytes * 1e6:
            text = document(rng, people, mixture)
            if not reserved.isdisjoint(text.split("\n")):
                continue
            rows.append({"text": text})
            characters += len(text)
        write_jsonl(arguments.build / f"corpus_{name}.jsonl", rows)


if __name__ == "__main__":
    main()
