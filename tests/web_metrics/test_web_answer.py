"""Tests of autocanary.web_metrics.web_answer: what is an answer, and all that is none."""

from __future__ import annotations

import pytest

from autocanary.model.measurement import WebAnswerForm
from autocanary.web_metrics.web_answer import BadAnswer, WebAnswer, read_answer

NOW = 1_767_225_600.0
VALUE, COUNTS = WebAnswerForm.VALUE, WebAnswerForm.COUNTS


@pytest.mark.parametrize(
    ("form", "body", "answer"),
    [
        (VALUE, '{"value": 0.97}', WebAnswer(NOW, value=0.97)),
        (VALUE, '{"value": -3, "samples": 240, "model": "gpt"}', WebAnswer(NOW, value=-3.0, samples=240)),
        (VALUE, '{"value": 1, "at": 1767225590.5}', WebAnswer(NOW - 9.5, value=1.0)),
        (COUNTS, '{"bad": 3, "total": 240}', WebAnswer(NOW, bad=3, total=240)),
        (COUNTS, '{"bad": 3.0, "total": 2.4e2, "at": 0}', WebAnswer(0.0, bad=3, total=240)),
        (COUNTS, '{"bad": 0, "total": 0}', WebAnswer(NOW, bad=0, total=0)),
        (COUNTS, '{"unknown": "no label yet"}', WebAnswer(NOW, unknown="no label yet")),
        (VALUE, '{"unknown": ""}', WebAnswer(NOW, unknown="")),
        (VALUE, '{"value": 1, "at": 1767225630}', WebAnswer(NOW, value=1.0)),
    ],
)
def test_answers(form: WebAnswerForm, body: str, answer: WebAnswer) -> None:
    """Both forms and "unknown"; other fields are ignored, and a clock half a minute ahead is now."""
    assert read_answer(body.encode(), form, NOW) == answer


@pytest.mark.parametrize(
    ("form", "body", "why"),
    [
        (VALUE, "", "not JSON"),
        (VALUE, "<html>", "not JSON"),
        (VALUE, '{"value": 1', "not JSON"),
        (VALUE, b"\xff\xfe", "not JSON"),
        (VALUE, "0.97", "not a JSON object"),
        (VALUE, "[1]", "not a JSON object"),
        (VALUE, "{}", "none of the fields"),
        (VALUE, '{"Value": 1}', "none of the fields"),
        (VALUE, '{"error": "no such revision"}', "none of the fields"),
        (VALUE, '{"value": NaN}', "NaN or infinite"),
        (VALUE, '{"value": -Infinity}', "NaN or infinite"),
        (VALUE, '{"value": 1e999}', "NaN or infinite"),
        (VALUE, '{"value": "0.97"}', "not a number"),
        (VALUE, '{"value": true}', "not a number"),
        (VALUE, '{"value": null}', "not a number"),
        (VALUE, '{"value": [1]}', "not a number"),
        (VALUE, f'{{"value": 1{"0" * 400}}}', "NaN or infinite"),
        (VALUE, f'{{"value": 1{"0" * 5000}}}', "not JSON"),
        (VALUE, '{"value": 1, "value": 0}', "stands in it twice"),
        (VALUE, '{"value": 1, "samples": -1}', "negative"),
        (VALUE, '{"value": 1, "samples": "many"}', "not a number"),
        (VALUE, '{"value": 1, "unknown": "?"}', 'it has "value" and "unknown"'),
        (VALUE, '{"bad": 1, "total": 2}', 'it has "bad" and "total": expected {"value"'),
        (COUNTS, '{"value": 1}', 'it has "value": expected {"bad"'),
        (COUNTS, '{"bad": 1}', 'it has "bad"'),
        (COUNTS, '{"bad": 3, "total": 2}', "more than"),
        (COUNTS, '{"bad": -1, "total": 2}', "negative"),
        (COUNTS, '{"bad": 1, "total": 2.5}', "not a whole number"),
        (COUNTS, '{"bad": 1, "total": 1e300}', "not a whole number"),
        (COUNTS, '{"unknown": 3}', "not a text"),
        (VALUE, '{"value": 1, "at": 1767225700}', "in the future"),
        (VALUE, '{"value": 1, "at": 1767225600000}', "milliseconds"),
        (VALUE, '{"value": 1, "at": "2026-01-01"}', "not a number"),
        (VALUE, '{"value": 1, "at": -1}', "negative"),
        (VALUE, '{"a":' * 3000 + "1" + "}" * 3000, "nested too deep"),
        (VALUE, "[" * 16000, "nested too deep|not JSON"),
    ],
)
def test_no_answer(form: WebAnswerForm, body: str | bytes, why: str) -> None:
    """The reason quotes nothing of the body."""
    with pytest.raises(BadAnswer, match=why):
        read_answer(body if isinstance(body, bytes) else body.encode(), form, NOW)


def test_reason_holds_no_word_of_the_body() -> None:
    """A body may hold a secret, in keys and in values."""
    bodies = ['{"s3cret": 1}', '{"value": "s3cret"}', '"s3cret"', "s3cret", '{"value": {"s3cret": 1}}']
    for body in bodies:
        with pytest.raises(BadAnswer) as error:
            read_answer(body.encode(), VALUE, NOW)
        assert "s3cret" not in str(error.value)
