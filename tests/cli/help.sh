# help.sh: every page is as wide as the terminal, whatever its width, and says the same at each.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
cat >"$folder/check.py" <<'END_OF_CHECK'
import fcntl, os, pty, re, struct, subprocess, sys, termios

winnow = sys.argv[1]
FOR_PROGRAMS = {"schema", "tasks-schema", "man", "completion"}  # printed as they are


def page(arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    command = [winnow, *arguments.split()]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout


def in_terminal(arguments, columns):
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([winnow, *arguments.split()], stdout=terminal, env=os.environ | {"COLUMNS": "132"}) as process:
        os.close(terminal)
        text = b""
        while piece := read(main):
            text += piece
    assert process.returncode == 0
    return text.decode().replace("\r\n", "\n")


def read(main):
    try:
        return os.read(main, 65536)
    except OSError:  # the other end is closed
        return b""


def words(text):
    return [word for word in text.split() if word != "//"]  # a comment that goes on begins anew


def too_long(text, width):
    return [line for line in text.splitlines() if len(line) > width and len(line.split()) > 1]


wide = str(10**4)
listed = re.findall(r"^  ([a-z-]+)  ", page("help help", COLUMNS=wide), re.M)
commands = re.findall(r"^  winnow ([a-z]+) ", page("help", COLUMNS=wide), re.M)
methods = re.findall(r"^(\w+) \(", page("help methods", COLUMNS=wide), re.M)
assert len(listed) == 10 and len(commands) == 8 and len(methods) > 10, (listed, commands, methods)
pages = ["help", "--help", *(f"{name} --help" for name in commands)]
pages += [f"help {topic}" for topic in [*listed, *commands, *methods] if topic not in FOR_PROGRAMS]
rows = 0
for arguments in pages:
    whole = page(arguments, COLUMNS=wide)
    rows += len(too_long(whole, 80))
    for width in (60, 80, 132):
        text = page(arguments, COLUMNS=str(width))
        assert not too_long(text, width), (arguments, width, too_long(text, width)[0])
        assert words(text) == words(whole), (arguments, width, "other words")
        assert text == whole or too_long(whole, width), (arguments, width, "wrapped where all fits")
assert rows > 200, f"only {rows} lines to wrap"
assert page("help metrics") == page("help metrics", COLUMNS="80") == page("help metrics", COLUMNS="none")
assert page("help metrics", COLUMNS="60") == in_terminal("help metrics", 60) != page("help metrics", COLUMNS="132")
for topic in FOR_PROGRAMS:
    assert page(f"help {topic}", COLUMNS="60") == page(f"help {topic}", COLUMNS="132"), topic
END_OF_CHECK
python3 "$folder/check.py" "$winnow" >"$folder/out" 2>&1 || fail "help: $(tail -n 1 "$folder/out")"
finish
