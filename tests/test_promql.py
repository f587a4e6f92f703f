"""PromQL as text: checking, typing, and values that cannot become syntax."""

from __future__ import annotations

import re

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocanary.errors import InputError
from autocanary.promql import (
    PLACEHOLDERS,
    escape_regex,
    fill_placeholders,
    find_placeholders,
    promql_duration,
    quote_string,
    result_type,
    sample_times,
    size_problem,
    syntax_error,
)
from autocanary.promql.query_syntax import _query_size

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize("query", ["up", "sum(rate(a[5m]))", "vector(1)", "a # said\n+ b", 'a{b=~"x|y"}'])
def test_good_queries_pass(query: str) -> None:
    """What Prometheus runs is not complained about."""
    assert syntax_error(query) is None


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("sum(a", "parenthesis"),
        ("rate(a)", "expected type matrix"),
        ('a{b=~"("}', "regex"),
        ("a[", "not valid PromQL"),
        ("# only words", "no expression"),
        ("a" * 17_000, "longer than 16,384 bytes"),
        ("a offset inf", "the parser failed"),
        ('a{b="\ud800"}', "surrogate"),
    ],
)
def test_bad_queries_are_named(query: str, said: str) -> None:
    """One sentence says what is wrong."""
    assert said in (syntax_error(query) or "")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (" OR ".join(["a"] * 3000), "2,999 operators"),
        (" oR ".join(["a"] * 3000), "2,999 operators"),
        (" or ".join(["a"] * 1000), "999 operators"),
        (" unless ".join(["a"] * 102), "101 operators"),
        ("# {\r" + " OR ".join(["a"] * 1000), "999 operators"),
        ('a{b="}"} OR ' * 200 + "a", "200 operators"),
        ("-" * 9000 + "a", "9,000 operators"),
        ("a+" * 5000 + "a", "5,000 operators"),
        ("(" * 5000 + "a" + ")" * 5000, "5,000 levels"),
        ("abs(" * 51 + "a" + ")" * 51, "51 levels"),
        ("label_join(a" + ', "x"' * 500 + ")", "names, numbers and texts"),
        ("a \uff4f\uff52 " * 300, "names, numbers and texts"),
        ('a{b="{{ name }}"}' + '+ a{b="{{ name }}"}' * 100, "101 placeholders"),
        ("é" * 9000, "longer than 16,384 bytes"),
    ],
)
def test_query_beyond_a_limit_never_reaches_the_parser(query: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The native parser overflows its stack on these, which no handler intercepts."""
    monkeypatch.setattr(promql_parser, "parse", lambda _query: pytest.fail("the parser saw the query"))
    assert says in (size_problem(query) or "")
    assert says in (syntax_error(query) or "")
    assert result_type(query) is None


def test_query_at_the_limits_is_parsed() -> None:
    """100 operators, and 50 levels of parentheses."""
    assert syntax_error(" OR ".join(["a"] * 101)) is None
    assert syntax_error("(" * 50 + "a" + ")" * 50) is None


def test_brackets_and_operators_in_strings_do_not_count() -> None:
    """A long list of names in a matcher is a flat query."""
    assert syntax_error('up{a=~"' + "|".join(f"x-(y)-{number}" for number in range(1000)) + '"}') is None


_PIECES = [
    "a",
    " OR ",
    " and ",
    "+",
    "-",
    "(",
    ")",
    "{",
    "}",
    "[5m]",
    "1",
    '"x"',
    "'",
    "`",
    "#",
    "\r",
    "\n",
    ",",
    "sum(",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=40).map("".join))
def test_tokenizer_counts_at_least_what_the_parser_builds(query: str) -> None:
    """No spelling hides operators from the limits: a tree has no more nodes than the tokenizer counts tokens."""
    size = _query_size(query)
    try:
        tree = promql_parser.parse(query)
    except ValueError:
        return
    pending, nodes = [tree], 0
    while pending:
        node = pending.pop()
        nodes += 1
        pending += [each for each in (getattr(node, name, None) for name in ("lhs", "rhs", "expr")) if each is not None]
    assert nodes <= size.operators + size.operands + query.count("(") + query.count("{") + 1


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_gets_an_answer(text: str) -> None:
    """No text makes the check raise."""
    assert (syntax_error(text) is None) or isinstance(syntax_error(text), str)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("up", "vector"),
        ("-up", "vector"),
        ("(sum(up))", "vector"),
        ("up + 1", "vector"),
        ("1 + up", "vector"),
        ("up > 1", "vector"),
        ("vector(1)", "vector"),
        ("rate(a[5m])", "vector"),
        ("a offset 5m", "vector"),
        ("1", "scalar"),
        ("-(1 + time())", "scalar"),
        ("scalar(up)", "scalar"),
        ("1 > bool 2", "scalar"),
        ("up[5m]", "matrix"),
        ("up[5m:1m]", "matrix"),
        ('"word"', "string"),
        ("up{", None),
        ("", None),
    ],
)
def test_the_type_of_a_query(query: str, expected: str | None) -> None:
    """The type decides how a query can be joined with others."""
    assert result_type(query) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (60, "1m"),
        (90, "1m30s"),
        (0.5, "500ms"),
        (3600, "1h"),
        (86_400, "1d"),
        (90_061.25, "1d1h1m1s250ms"),
        (0, "0s"),
    ],
)
def test_durations_are_printed_as_prometheus_does(seconds: float, text: str) -> None:
    """60 s is 1m, and fractions are milliseconds."""
    assert promql_duration(seconds) == text


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=10**10))
def test_durations_read_back_the_same(milliseconds: int) -> None:
    """The parser reads what was printed."""
    read = promql_parser.parse_duration(promql_duration(milliseconds / 1000))
    assert round(read.total_seconds() * 1000) == milliseconds


def test_placeholders_are_found_once_each_in_order() -> None:
    """Comments do not count; blanks inside the braces do not matter."""
    template = 'a{n="{{ namespace }}",r=~"{{revision}}.*"}[{{ window }}] # {{ nonsense }}\n + {{ window }}'
    assert find_placeholders(template) == ("namespace", "revision", "window")


def test_every_placeholder_can_be_filled() -> None:
    """Flagger's words and ours, in the place each belongs to."""
    values: dict[str, str | float] = dict.fromkeys(PLACEHOLDERS, "x") | {"window": 60.0, "interval": 90}
    quoted = ",".join(f'l{number}="{{{{ {name} }}}}"' for number, name in enumerate(PLACEHOLDERS))
    query = fill_placeholders(f"sum(rate(a{{{quoted}}}[{{{{ window }}}}])) + sum(rate(a[{{{{ interval }}}}]))", values)
    assert syntax_error(query) is None
    assert query.endswith("[1m])) + sum(rate(a[1m30s]))")


def test_values_are_escaped_for_where_they_stand() -> None:
    """A dot is plain after = and escaped after =~ and !~, also with blanks and a comment between."""
    values = {"name": "a.b"}
    assert fill_placeholders('m{x="{{ name }}"}', values) == 'm{x="a.b"}'
    assert fill_placeholders('m{x!="{{ name }}"}', values) == 'm{x!="a.b"}'
    assert fill_placeholders('m{x=~"{{ name }}.*"}', values) == 'm{x=~"a[.]b.*"}'
    assert fill_placeholders('m{x !~ # why\n "{{ name }}"}', values) == 'm{x !~ # why\n "a[.]b"}'
    assert fill_placeholders("m{x=~`{{ name }}`}", values) == "m{x=~`a[.]b`}"
    assert fill_placeholders("m{x='{{ name }}'}", {"name": "it's"}) == "m{x='it\\'s'}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ('a{b="{{ nmespace }}"}', "did you mean {{ namespace }}"),
        ('a{b="{{ STABLErevision }}"}', "did you mean {{ stableRevision }}"),
        ('a{b="{{ .Namespace }}"}', "malformed placeholder"),
        ('a{b="{{ args.name }}"}', "did you mean {{ name }}"),
        ('a{b="{{ qqqqqq }}"}', "known are component"),
        ('a{b="{{ name"}', "malformed placeholder"),
        ('a{b="{{ two words }}"}', "malformed placeholder"),
        ("a{b={{ name }}}", "outside quotes"),
        ('a{b="\\{{ name }}"}', "backslash"),
        ('a{b=~"\\\\{{ name }}"}', "backslash"),
        ("a{b=~`\\{{ name }}`}", "backslash"),
    ],
)
def test_templates_that_cannot_be_filled_safely_are_refused(template: str, said: str) -> None:
    """The message names the nearest known word or what to write instead."""
    values: dict[str, str | float] = dict.fromkeys(PLACEHOLDERS, "x") | {"window": 60.0, "interval": 60.0}
    with pytest.raises(InputError, match=re.escape(said)):
        fill_placeholders(template, values)


def test_a_literal_backslash_before_a_value_is_no_escape() -> None:
    """Two backslashes in a plain string, or one in a raw one, are themselves."""
    assert fill_placeholders('a{b="\\\\{{ name }}"}', {"name": "x"}) == 'a{b="\\\\x"}'
    assert fill_placeholders("a{b=`\\{{ name }}`}", {"name": "x"}) == "a{b=`\\x`}"


def test_an_escaped_quote_does_not_end_a_string() -> None:
    """The lexer knows where a string ends, or values would be escaped for the wrong place."""
    assert fill_placeholders('a{b="say \\"{{ name }}\\""}', {"name": '"'}) == 'a{b="say \\"\\"\\""}'


def test_durations_may_be_given_as_text() -> None:
    """A window that is already Prometheus' text may be in brackets."""
    assert fill_placeholders("rate(a[{{ window }}])", {"window": "1m30s"}) == "rate(a[1m30s])"


@pytest.mark.parametrize("value", ["a`b", "a\ud800b"])
def test_values_that_no_string_can_hold_are_refused(value: str) -> None:
    """A back quote in a raw string, and half a surrogate pair anywhere."""
    with pytest.raises(InputError):
        fill_placeholders("a{b=`{{ name }}`}" if "`" in value else 'a{b="{{ name }}"}', {"name": value})


@settings(deadline=None)
@given(TEXT, st.sampled_from(["=", "!=", "=~", "!~"]), st.sampled_from(['"', "'", "`"]), TEXT)
def test_no_value_breaks_out_of_its_string(value: str, operator: str, mark: str, other: str) -> None:
    """The filled query has the template's two matchers, and the value is exactly the text put in."""
    template = f"m{{x{operator}{mark}{{{{ name }}}}{mark},y={quote_string(other)}}}"
    if mark == "`" and "`" in value:
        with pytest.raises(InputError):
            fill_placeholders(template, {"name": value})
        return
    if "{{" in other:
        return
    filled = fill_placeholders(template, {"name": value})
    if mark == "`":  # the parser wrongly unescapes raw strings; Prometheus takes them as they are
        inside = escape_regex(value) if operator.endswith("~") else value
        assert filled == f"m{{x{operator}`{inside}`,y={quote_string(other)}}}"
        return
    tree = promql_parser.parse(filled)
    assert isinstance(tree, promql_parser.VectorSelector)
    first, second = tree.matchers.matchers
    assert (first.name, second.name, second.value) == ("x", "y", other)
    assert first.value == (escape_regex(value) if operator.endswith("~") else value)


@settings(deadline=None)
@given(TEXT)
def test_a_literal_matches_itself_alone(text: str) -> None:
    """Escaped for RE2, a text matches itself and not with a character more."""
    assert re.fullmatch(escape_regex(text), text, re.DOTALL)
    assert not re.fullmatch(escape_regex(text), text + "x", re.DOTALL)


@settings(deadline=None)
@given(TEXT)
def test_a_template_without_placeholders_is_left_alone(text: str) -> None:
    """Filling changes placeholders and nothing else."""
    if "{{" not in text:
        assert fill_placeholders(text, {}) == text
        assert find_placeholders(text) == ()


@pytest.mark.parametrize(
    ("query", "times"),
    [
        ("sum(up)", ["max(timestamp(up{}))"]),
        ("vector(1) + 2", []),
        ('a{b="c\\"d",e=~"f.*",g!="",h!~"i"} / a{b="c\\"d",e=~"f.*",g!="",h!~"i"}', None),
        (
            "sum(rate(errors_total[5m])) / sum(rate(requests_total[5m]))",
            [
                f"max(timestamp({name}{{}}) or max_over_time(timestamp({name}{{}})[5m:10s]))"
                for name in ("errors_total", "requests_total")
            ],
        ),
        ("max_over_time(sum(drift)[1h:1m])", ["max(timestamp(drift{}) or max_over_time(timestamp(drift{})[1h:2m]))"]),
        ("now_m - last_week offset 1w", ["max(timestamp(now_m{}))"]),
        ("sum(rate(x[5m] offset 1d)) + y @ 5", []),
        ("-(z) or vector(0)", ["max(timestamp(z{}))"]),
        ("sum(", []),
        (" + ".join(f"m{number}" for number in range(9)), []),
    ],
)
def test_sample_times_of_a_query(query: str, times: list[str] | None) -> None:
    """One expression per metric that is read of now; each is PromQL itself."""
    found = sample_times(query)
    if times is None:
        times = ['max(timestamp(a{b="c\\"d",e=~"f.*",g!="",h!~"i"}))']
    assert list(found) == times
    assert all(syntax_error(each) is None for each in found)
