/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The language of a text, of the thirty that IFEval asks for: by its script, and among languages of one script by their
 * commonest words and by letters that only one of them has. Short texts are guesses, as they are for any program.
 */
#include "text_impl.h"

struct language {
    char code[3];
    const char *script, *words, *letters; /* words between spaces, in lower case; letters of this one alone */
};

struct script {
    const char *name;
    uint32_t first, last;
};

static const struct script scripts[] = {
    {"latin", 'A', 'Z'},          {"latin", 'a', 'z'},       {"latin", 0xC0, 0x24F},     {"latin", 0x1E00, 0x1EFF},
    {"cyrillic", 0x400, 0x4FF},   {"hebrew", 0x590, 0x5FF},  {"arabic", 0x600, 0x6FF},   {"arabic", 0xFB50, 0xFDFF},
    {"devanagari", 0x900, 0x97F}, {"bengali", 0x980, 0x9FF}, {"gurmukhi", 0xA00, 0xA7F}, {"gujarati", 0xA80, 0xAFF},
    {"tamil", 0xB80, 0xBFF},      {"telugu", 0xC00, 0xC7F},  {"kannada", 0xC80, 0xCFF},  {"malayalam", 0xD00, 0xD7F},
    {"thai", 0xE00, 0xE7F},       {"kana", 0x3040, 0x30FF},  {"han", 0x3400, 0x9FFF},    {"hangul", 0x1100, 0x11FF},
    {"hangul", 0xAC00, 0xD7AF},
};

static const struct language languages[] = {
    {"en", "latin",
     " the a she he said no yes so do did would could my me of and to in is that it for was on with as are this be by "
     "at from or an have not you your we they his her i "
     "my can will has which but all their there what if ",
     ""},
    {"es", "latin",
     " de la que el en y los se del las un por con una su para es al lo como más pero sus le ya o este sí porque esta "
     "entre cuando muy sin sobre ser también me hasta hay donde son nos ",
     "ñ¿¡"},
    {"pt", "latin",
     " de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu sua "
     "ou ser quando muito há nos já está eu também só pelo pela até isso são você ",
     "ãõ"},
    {"fr", "latin",
     " de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont la avec son aux "
     "ses mais comme ou leur cette elle nous vous je être ont été l'on c'est ",
     "œ"},
    {"de", "latin",
     " der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat "
     "dass sie nach wird bei einer um am sind noch wie einem über so zum war haben nur oder aber ich wir ",
     "ß"},
    {"it", "latin",
     " di e il la che in un per è del della una con non da le si i dei al sono come più nel alla gli ha anche lo ma "
     "delle o questo su dal essere suo se loro degli dalla mi ci così quando ",
     ""},
    {"pl", "latin",
     " i w na z do się nie jest to że o jak po od za dla przez ale są czy co oraz tak lub tego który już może jego być "
     "ich tym przed które pod ",
     "łąęśźżń"},
    {"vi", "latin",
     " là và của có một cho trong không được với các những này người đã để khi từ cũng đó về như nhưng hay vào tôi bạn "
     "ở ra nhiều ",
     "ơưđạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ"},
    {"sw", "latin",
     " ya na wa kwa ni katika za la kuwa hii cha huo yake watu au kama hiyo sana pia lakini vya mwa wake hivyo kila "
     "ili ambayo yao bila hadi ndani baada mimi wewe sisi ",
     ""},
    {"fi", "latin",
     " ja on ei että se oli hän joka mutta ovat kun myös kuin tai sen ole jos niin mukaan olla voi ne nyt hänen vain "
     "sitä tämä minä siitä jotka sekä kanssa tämän mitä ",
     ""},
    {"ru", "cyrillic",
     " и в не на что он с как это по но они мы этот она я из у за от так же для вы был до бы мне или его если может ее "
     "быть чтобы при уже ",
     "ыэё"},
    {"uk", "cyrillic",
     " і в не на що з як це та до він за але вони ми від для я у про або його бути якщо може є які також й після ви ",
     "іїєґ"},
    {"bg", "cyrillic",
     " на и да се в е за от не с са по че като ще до това той но тя ги ми или които си който към след ако са бъде още ",
     ""},
    {"ar", "arabic", " في من على أن إلى عن التي ما هذا هذه الذي لا كان أو مع هو هي كل ذلك بعد بين قد لم ", "ةىأإ"},
    {"fa", "arabic", " و در به از که این را با است برای آن یک خود تا بر هم نیز می شود شده کرد او اما یا ما های ",
     "یپژگ"},
    {"ur", "arabic", " کے کی ہے میں کا اور سے کو نے کہ یہ اس پر ہیں ایک تھا بھی جو وہ کر نہیں لئے گیا آپ ", "ہےںٹڈڑ"},
    {"hi", "devanagari", " के का में की है से को और पर ने कि यह हैं एक भी था इस लिए नहीं कर हो जो वह या तो अपने आप ", ""},
    {"mr", "devanagari", " आहे आणि व या ते हे तो की च्या मध्ये नाही आहेत एक ही होते असे साठी करून त्या मी तुम्ही पण किंवा ", "ळ"},
    {"ne", "devanagari", " र छ हो को मा लाई पनि यो छन् गर्न भएको एक थियो तथा गरेको हुन्छ यस तर भने वा लागि गर्ने नेपाल ", ""},
    {"he", "hebrew", " ", ""},
    {"bn", "bengali", " ", ""},
    {"pa", "gurmukhi", " ", ""},
    {"gu", "gujarati", " ", ""},
    {"ta", "tamil", " ", ""},
    {"te", "telugu", " ", ""},
    {"kn", "kannada", " ", ""},
    {"ml", "malayalam", " ", ""},
    {"th", "thai", " ", ""},
    {"ja", "kana", " ", ""},
    {"ko", "hangul", " ", ""},
    {"zh", "han", " ", ""},
};

enum { LANGUAGES = sizeof(languages) / sizeof(languages[0]), SCRIPTS = sizeof(scripts) / sizeof(scripts[0]) };

bool wn_language_known(const char *code)
{
    for (int i = 0; i < LANGUAGES; i++)
        if (!strcmp(languages[i].code, code))
            return true;
    return false;
}

/* The script of most letters; a text with a tenth of kana is Japanese, however much Han there is. NULL: no letters. */
static const char *script_of(struct wn_chars text)
{
    int64_t counts[SCRIPTS] = {0}, all = 0, kana = 0;
    int best = 0;

    for (size_t at = 0; at < text.length;) {
        uint32_t code = text_next_code(text, &at);
        for (int s = 0; s < SCRIPTS; s++) {
            if (code < scripts[s].first || code > scripts[s].last)
                continue;
            int first = s;
            while (first > 0 && !strcmp(scripts[first - 1].name, scripts[s].name))
                first--;
            counts[first]++;
            all++;
            kana += !strcmp(scripts[s].name, "kana");
            break;
        }
    }
    for (int s = 0; s < SCRIPTS; s++)
        best = counts[s] > counts[best] ? s : best;
    return all == 0 ? NULL : kana * 10 >= all ? "kana" : scripts[best].name;
}

static bool is_letter(uint32_t code)
{
    for (int s = 0; s < SCRIPTS; s++)
        if (code >= scripts[s].first && code <= scripts[s].last)
            return true;
    return false;
}

/* A common word counts 1, a letter of one language alone a half. */
static double affinity(const struct language *language, struct wn_chars lower)
{
    double sum = 0;

    for (size_t at = 0; at < lower.length;) {
        size_t start = at, end = at;
        while (at < lower.length && is_letter(text_next_code(lower, &at)))
            end = at;
        if (end > start) {
            char *word = wn_format(" %.*s ", (int)(end - start), lower.data + start);
            sum += strstr(language->words, word) ? 1 : 0;
            wn_free(word);
        }
        for (size_t i = start; i < at;) {
            size_t from = i;
            text_next_code(lower, &i);
            struct wn_chars letter = {lower.data + from, i - from};
            sum += letter.length > 1 && text_contains(wn_chars_of(language->letters), letter) ? 0.5 : 0;
        }
    }
    return sum;
}

const char *wn_language_of(struct wn_chars text)
{
    const char *script = script_of(text);
    const struct language *best = NULL;
    double most = -1;
    struct wn_text lower = {0};

    if (!script)
        return NULL;
    wn_lower(text, &lower);
    for (int i = 0; i < LANGUAGES; i++) {
        if (strcmp(languages[i].script, script) != 0)
            continue;
        double score = affinity(&languages[i], text_chars(&lower));
        if (score > most) {
            most = score;
            best = &languages[i];
        }
    }
    wn_text_release(&lower);
    return best ? best->code : NULL;
}
