#!/usr/bin/python3
"""Rules about the tree that the compiler does not check, each with a proof that it can fail.

A rule is a function (path from the repository's root, text) -> list of complaints.
"""

import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("core", "io", "proto", "librsyncwrap", "p2pd", "tracker", "tools", "bench", "tests")
CODE = (".h", ".cpp")
LINES_MAX = 500

# Who may include whom, by the first folder of the path.
ARROWS = {
    "core": {"core"},
    "proto": {"proto"},
    "io": {"core", "io", "proto"},
    "librsyncwrap": {"core", "librsyncwrap"},
    "p2pd": {"core", "io", "proto", "librsyncwrap", "p2pd"},
    "tracker": {"core", "io", "proto", "librsyncwrap", "tracker"},
    "tools": {"core", "io", "proto", "tools"},
    "bench": {"core", "io", "proto", "librsyncwrap", "p2pd", "tracker", "bench", "tests"},
    "tests": set(FOLDERS),
}

# Standard headers that bring a clock, a file, a thread or a random device into core/.
IMPURE_HEADERS = {
    "barrier", "condition_variable", "filesystem", "fstream", "future", "iostream", "latch",
    "mutex", "random", "semaphore", "shared_mutex", "stop_token", "thread",
}
IMPURE_CODE = re.compile(
    r"\b(?:system|steady|high_resolution|utc)_clock\b|::now\s*\(|\bstd::(?:jthread|thread|async"
    r"|random_device)\b|\b(?:s?rand|time|getenv|clock_gettime|gettimeofday)\s*\("
)


def includes(text):
    """(line number, name, is quoted) of every include line."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', line)
        if match:
            yield number, match[1] or match[2], match[1] is not None


def blank(text):
    """The text with comments and literals replaced by spaces, line breaks kept."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-zA-Z])'(?:\\.|[^'\\\n])+'", re.DOTALL)
    return pattern.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def include_arrows(path, text):
    """Includes run core <- io <- {p2pd, tracker, tools}, are written from the root, and exist."""
    layer = path.split("/")[0]
    complaints = []
    for number, name, quoted in includes(text):
        if not quoted:
            continue
        first = name.split("/")[0]
        if "/" not in name or first not in FOLDERS:
            complaints.append(f"{path}:{number}: write \"{name}\" from the repository's root")
        elif first not in ARROWS[layer]:
            complaints.append(f"{path}:{number}: {layer}/ must not include {name}")
        elif layer == "librsyncwrap" and first == "core" and not name.startswith("core/base/"):
            complaints.append(f"{path}:{number}: librsyncwrap/ may include core/base/ only")
        elif not name.endswith(".pb.h") and not (ROOT / name).exists():
            complaints.append(f"{path}:{number}: {name} does not exist")
    return complaints


def core_is_pure(path, text):
    """core/ has the standard library and itself: no clock, socket, file, thread, random device."""
    if not path.startswith("core/"):
        return []
    complaints = []
    for number, name, quoted in includes(text):
        if not quoted and (not re.fullmatch(r"[a-z0-9_]+", name) or name in IMPURE_HEADERS):
            complaints.append(f"{path}:{number}: core/ must not include <{name}>")
        if name.endswith(".pb.h"):
            complaints.append(f"{path}:{number}: core/ must not see protobuf ({name})")
    bare = blank(text)
    for match in IMPURE_CODE.finditer(bare):
        complaints.append(f"{path}:{line_of(bare, match.start())}: core/ must not use "
                          f"{match[0].strip()}: take it as an argument")
    return complaints


def librsyncwrap_is_small(path, text):
    """librsyncwrap/ has the standard library, librsync.h and core/base."""
    if not path.startswith("librsyncwrap/"):
        return []
    return [f"{path}:{number}: librsyncwrap/ must not include <{name}>"
            for number, name, quoted in includes(text)
            if not quoted and name != "librsync.h" and not re.fullmatch(r"[a-z0-9_]+", name)]


def headers_guard_themselves(path, text):
    """Headers have #pragma once."""
    if path.endswith(".h") and not re.search(r"^#pragma once$", text, re.MULTILINE):
        return [f"{path}: no #pragma once"]
    return []


def files_are_short(path, text):
    """A file has at most 500 lines, or a line that says why it has more."""
    lines = text.count("\n")
    if lines > LINES_MAX and not re.search(r"^(//|#) Long because: \S", text, re.MULTILINE):
        return [f"{path}: {lines} lines: split it, or say '// Long because: ...'"]
    return []


def closing(text, start):
    """Position after the bracket that closes the one at `start`."""
    depth = 0
    for position in range(start, len(text)):
        if text[position] in "([{":
            depth += 1
        elif text[position] in ")]}":
            depth -= 1
            if depth == 0:
                return position + 1
    return len(text)


def await_hazard(bare, start):
    """What is wrong with the co_await expression that begins at `start`, or None."""
    position = start + len("co_await")
    depth = 0
    while position < len(bare):
        char = bare[position]
        before = bare[start:position].rstrip()
        if char == ";" and depth == 0:
            return None
        if char == "[" and not re.search(r"[\w)\]]$", before):
            captures = bare[position + 1:closing(bare, position) - 1].strip()
            for capture in filter(None, (part.strip() for part in captures.split(","))):
                if not capture.startswith("&") and capture not in ("this", "..."):
                    return f"lambda that captures '{capture}' by copy"
            # Its body is a function of its own: go on behind it.
            body = bare.find("{", closing(bare, position))
            position = closing(bare, body) if body >= 0 else len(bare)
            continue
        if char == "{":
            return "braced temporary"
        if char in "([":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                return None
        position += 1
    return None


def awaits_are_safe(path, text):
    """Nothing braced or capturing inside co_await: g++ 12 destroys such temporaries twice."""
    bare = blank(text)
    complaints = []
    for match in re.finditer(r"\bco_await\b", bare):
        hazard = await_hazard(bare, match.start())
        if hazard:
            complaints.append(f"{path}:{line_of(bare, match.start())}: {hazard} inside co_await: "
                              "g++ 12 destroys it twice; name it first, then std::move it in")
    return complaints


def listed(path, cmake_texts):
    """Some CMakeLists.txt at or above the file names it. cmake_texts: folder -> text."""
    file = pathlib.PurePosixPath(path)
    for folder in file.parents:
        text = re.sub(r"#.*", "", cmake_texts.get(str(folder), ""))
        text = text.replace("${CMAKE_CURRENT_SOURCE_DIR}/", "")
        name = re.escape(str(file.relative_to(folder)))
        if re.search(rf"(?<![\w./-]){name}(?![\w./-])", text):
            return True
    return False


RULES = {
    CODE: (include_arrows, core_is_pure, librsyncwrap_is_small, headers_guard_themselves,
           awaits_are_safe),
    CODE + (".py", ".proto", ".sh"): (files_are_short,),
}


def tree():
    """Every source file as (path from the root, text)."""
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file() and file.suffix in CODE + (".py", ".proto", ".sh"):
                yield file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")


class TheTree(unittest.TestCase):
    def test_follows_every_rule(self):
        complaints = [complaint
                      for path, text in tree()
                      for suffixes, rules in RULES.items() if path.endswith(suffixes)
                      for rule in rules for complaint in rule(path, text)]
        self.assertEqual([], complaints, "\n" + "\n".join(complaints))

    def test_lists_every_source_file_in_a_cmake_file(self):
        cmake = {file.parent.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
                 for folder in FOLDERS for file in (ROOT / folder).rglob("CMakeLists.txt")}
        missing = [path for path, _ in tree()
                   if path.endswith((".cpp", ".proto", "_test.py")) and not listed(path, cmake)]
        self.assertEqual([], missing, "in no CMakeLists.txt, so never built or run")

    def test_is_not_empty(self):
        self.assertGreater(sum(1 for _ in tree()), 20)


class EachRuleCanFail(unittest.TestCase):
    def refuses(self, rule, path, text):
        self.assertNotEqual([], rule(path, text), f"{rule.__name__} accepts {text!r} in {path}")

    def accepts(self, rule, path, text):
        self.assertEqual([], rule(path, text))

    def test_include_arrows(self):
        self.refuses(include_arrows, "core/a.h", '#include "io/log/log.h"\n')
        self.refuses(include_arrows, "io/a.cpp", '#include "p2pd/agent.h"\n')
        self.refuses(include_arrows, "io/a.cpp", '#include "tools/p2pctl/table.h"\n')
        self.refuses(include_arrows, "p2pd/a.cpp", '#include "tracker/tracker.h"\n')
        self.refuses(include_arrows, "tracker/a.cpp", '#include "p2pd/agent.h"\n')
        self.refuses(include_arrows, "tools/p2pctl/a.cpp", '#include "tracker/tracker.h"\n')
        self.refuses(include_arrows, "librsyncwrap/a.h", '#include "core/model/manifest.h"\n')
        self.refuses(include_arrows, "io/a.cpp", '#include "log.h"\n')
        self.refuses(include_arrows, "io/a.cpp", '#include "core/base/no_such_file.h"\n')
        self.accepts(include_arrows, "io/a.cpp",
                     '#include "core/base/result.h"\n#include <vector>\n')
        self.accepts(include_arrows, "io/a.cpp", '#include "proto/content.pb.h"\n')

    def test_core_is_pure(self):
        for line in ("#include <boost/asio/ip/tcp.hpp>", "#include <thread>", "#include <random>",
                     "#include <iostream>", "#include <fstream>", "#include <sys/socket.h>",
                     "#include <unistd.h>", '#include "proto/content.pb.h"',
                     "auto t = std::chrono::steady_clock::now();", "std::thread worker;"):
            self.refuses(core_is_pure, "core/a.cpp", line + "\n")
        self.accepts(core_is_pure, "core/a.cpp", "#include <chrono>\n#include <vector>\n")
        self.accepts(core_is_pure, "core/a.cpp", "// never std::thread\nint n = time_of(x);\n")
        self.accepts(core_is_pure, "io/a.cpp", "#include <thread>\n")

    def test_librsyncwrap_is_small(self):
        self.refuses(librsyncwrap_is_small, "librsyncwrap/a.cpp", "#include <boost/asio.hpp>\n")
        self.accepts(librsyncwrap_is_small, "librsyncwrap/a.cpp", "#include <librsync.h>\n")

    def test_headers_guard_themselves(self):
        self.refuses(headers_guard_themselves, "io/a.h", "int f();\n// #pragma once\n")
        self.accepts(headers_guard_themselves, "io/a.h", "#pragma once\n")

    def test_files_are_short(self):
        self.refuses(files_are_short, "io/a.cpp", "int a;\n" * (LINES_MAX + 1))
        self.accepts(files_are_short, "io/a.cpp", "int a;\n" * LINES_MAX)
        self.accepts(files_are_short, "io/a.cpp",
                     "// Long because: one table.\n" + "int a;\n" * LINES_MAX)

    def test_awaits_are_safe(self):
        for statement in ("co_await store(WriteRequest{path, bytes});",
                          "auto r = co_await store({.path = path});",
                          "co_await store(\n    1, std::vector<int>{1, 2});",
                          "co_await run([x] { use(x); });",
                          "co_await run([=]() mutable { use(x); });",
                          "co_await run([&a, b = std::move(c)] {});",
                          "if (auto s = co_await f(Name{1}); !s.ok()) { g(); }"):
            self.refuses(awaits_are_safe, "io/a.cpp", statement)
        for statement in ("co_await store(std::move(request));\nName other{1};",
                          "co_await run([&] { Name{1}; });",
                          "co_await send(items[i], table[k]);",
                          "co_await run([] { return 1; });",
                          "if (co_await ready()) { Name{1}; }",
                          "while (!co_await ready()) {\n  Name{1};\n}",
                          "for (auto& x : co_await all()) { f(Name{x}); }",
                          "// co_await f(Name{1});",
                          'log("co_await f(Name{1});");'):
            self.accepts(awaits_are_safe, "io/a.cpp", statement)

    def test_listed(self):
        cmake = {"tests/core": "p2p_test(a SOURCES\n  model/a_test.cpp)\n# gone_test.cpp\n"}
        self.assertTrue(listed("tests/core/model/a_test.cpp", cmake))
        self.assertTrue(listed("tests/tidy_test.py",
                               {"tests": "COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tidy_test.py)"}))
        self.assertFalse(listed("tests/core/model/b_test.cpp", cmake))
        self.assertFalse(listed("tests/core/gone_test.cpp", cmake))
        self.assertFalse(listed("tests/core/a_test.cpp", cmake))


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    unittest.main()
