"""Templates from nowhere: no side effect, and an end to all they do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pocketllama.chat import Template, sandbox
from pocketllama.errors import ModelInvalid, PocketllamaError, UsageError

TALK = [{"role": "user", "content": "Hi"}]
# Roads to Python's insides that have worked on one template engine or another. {x} is an expression.
INSIDES = [
    "''.__class__",
    "''.__class__.__mro__[1].__subclasses__()",
    "().__class__.__base__.__subclasses__()",
    "''|attr('__class__')",
    "''['__class__']",
    "''|attr('\\x5f\\x5fclass\\x5f\\x5f')",
    "messages.__class__",
    "messages[0].__init__.__globals__",
    "messages[0].items.__self__.__class__",
    "self.__init__.__globals__",
    "self._TemplateReference__context",
    "raise_exception.__globals__",
    "raise_exception.__code__",
    "strftime_now.__globals__['datetime']",
    "strftime_now.__closure__",
    "range.__class__.__base__",
    "cycler.__init__.__globals__.os",
    "joiner.__init__.__globals__.os",
    "namespace.__init__.__globals__.os",
    "lipsum.__globals__.os.popen('touch FILE')",
    "lipsum.__globals__['os'].system('touch FILE')",
    "lipsum.__globals__.__builtins__.open('FILE', 'w')",
    "config.__class__.__init__.__globals__",
    "request.application.__globals__",
    "get_flashed_messages.__globals__",
    "url_for.__globals__",
    "__import__('os').system('touch FILE')",
    "open('FILE', 'w')",
    "eval('1')",
    "exec('1')",
    "'{0.__class__}'.format('')",
    "'{0.__class__.__mro__}'.format('')",
    "'{x.__class__}'.format_map({'x': ''})",
    "'{0.spans.__class__}'.format('a')",
    "('{0.__class__}'|format(''))['__class__']",
    "(messages|map(attribute='__class__')|list)[0].__name__",
    "messages|map('attr', '__class__')|first",
    "messages|groupby('__class__')|list|attr('__len__')",
    "messages.append(1)",
    "messages.clear()",
    "messages[0].update({'role': 'system'})",
    "messages[0].pop('role')",
    "messages.sort()",
    "messages|attr('append')(1)",
    "cycler('a').next.__func__",
    "joiner.__call__.__globals__",
    "loop.__init__",
    "caller.__globals__",
    "environment.own.__wrapped__.__globals__",
    "context.environment",
    "(namespace(x=1)|attr('__init__')).__globals__",
    "(1).__class__.__base__",
    "(x for x in ()).gi_frame",
    "''.join.__self__.__class__",
    "'a'.spans.__class__",
    "{}.__class__.__subclasses__()",
    "undefined_thing.__class__",
    "dict.__base__",
    "dict.mro()",
    "self.__dict__",
]
ENDLESS = {
    "a long range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested loops": "{% for a in range(9999) %}" * 8 + "x" + "{% endfor %}" * 8,
    "a hundred nested loops": "{% for a in range(9999) %}" * 100 + "x" + "{% endfor %}" * 100,
    "recursion": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "a recursive loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "a long text": "{{ 'a' * 10**11 }}",
    "a doubled text": "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "a doubled content": "{% set n = namespace(x=messages[0].content) %}{% for i in range(99) %}"
    "{% set n.x = n.x.replace('H', 'HHHH') %}{% endfor %}{{ n.x }}",
    "a doubled list": "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    "{{ n.x }}",
    "a doubled list as JSON": "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}"
    "{% endfor %}{{ n.x | tojson }}",
    "a large number": "{{ 9 ** (9 ** (9 ** 9)) }}",
    "a large list": "{{ ([1] * 10**10) | length }}",
    "a wide format": "{{ '%999999999999d' % 1 }}",
    "a wide format, new style": "{{ '{:>99999999999}'.format(1) }}",
    "a wide centre": "{{ 'x' | center(10**12) }}",
    "much indentation": "{{ 'x\ny' | indent(10**12) }}",
    "many sentences": "{{ lipsum(n=10**7) }}",
    "much output": "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
    "deep brackets": "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
    "deep blocks": "{% if 1 %}" * 20_000 + "{% endif %}" * 20_000,
}


@pytest.mark.parametrize("expression", INSIDES)
def test_nothing_of_python_is_reached(expression: str, tmp_path: Path) -> None:
    file = tmp_path / "touched"
    source = "{{ " + expression.replace("FILE", str(file)) + " }}"
    try:
        text = Template("hostile", source, "model").render(TALK).text
    except PocketllamaError:
        text = ""
    assert not file.exists()
    assert "<class" not in text and "<function" not in text and "<module" not in text and "object at 0x" not in text
    assert TALK == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("name", ENDLESS)
def test_everything_has_an_end(name: str) -> None:
    before = threading.active_count()
    with pytest.raises((ModelInvalid, UsageError)):
        Template("endless", ENDLESS[name], "model").render(TALK)
    assert threading.active_count() <= before + 1  # at most a timer that is about to see that it was cancelled
    # The next one finds everything in order.
    assert Template("next", "{{ messages[0].content }}", "model").render(TALK).text == "Hi"


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
def test_what_does_not_compute_has_an_end_too() -> None:
    """On a machine so busy that its process is never given the time, computing is no measure."""
    template = Template("plain", "{{ messages[0].content }}", "model")
    template.render(TALK)
    process = sandbox._worker._process
    assert process
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(ModelInvalid, match=r"1\.8 s in all"):
        template.render(TALK)
    assert template.render(TALK).text == "Hi"


def test_a_process_that_was_killed_is_started_again() -> None:
    template = Template("plain", "{{ messages[0].content }}", "model")
    template.render(TALK)
    process = sandbox._worker._process
    assert process
    process.kill()
    process.wait()
    assert template.render(TALK).text == "Hi"


def test_the_process_has_neither_our_variables_nor_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "a secret")
    sandbox._worker.close()
    Template("plain", "x", "model").render(TALK)
    process = sandbox._worker._process
    assert process
    status = Path(f"/proc/{process.pid}")
    if not status.exists():
        pytest.skip("this system shows nothing of other processes")
    assert b"secret" not in (status / "environ").read_bytes()
    assert "Max open files            3" in (status / "limits").read_text()


def test_several_threads_take_turns() -> None:
    made: list[str] = []
    template = Template("plain", "{{ messages[0].content }}", "model")

    def render(i: int) -> None:
        made.append(template.render([{"role": "user", "content": str(i)}]).text)

    threads = [threading.Thread(target=render, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, made)) == list(range(16))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_it_ends_with_the_program(tmp_path: Path) -> None:
    program = (
        "from pocketllama.chat import Template, sandbox; import os, sys;"
        "Template('x', '{{ messages[0].content }}', 'model').render([{'role': 'user', 'content': 'Hi'}]);"
        "print(sandbox._worker._process.pid, flush=True); os._exit(0) if sys.argv[1] == 'hard' else None"
    )
    for how in ("soft", "hard"):
        out = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True)
        assert out.stderr == ""
        pid = int(out.stdout)
        for _ in range(200):  # its input ends, and it sees that
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.02)
        else:
            pytest.fail(f"the process {pid} is still there")
