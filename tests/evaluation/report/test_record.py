from musicgen_train.evaluation.report.record import record_rows


def test_a_record_is_words_and_not_code():
    rows = dict(
        record_rows(
            {
                "weights_sha256": "ab12",
                "scales": [[512, 64], [1024, 80]],
                "zero_mean": True,
                "loudness": None,
                "bandwidth": 25.369437497618243,
                "tracks": {"a": 1},
            }
        )
    )
    assert rows == {
        "SHA-256 of the weights": "ab12",
        "scales": "512 × 64, 1024 × 80",
        "zero mean": "yes",
        "loudness": "none",
        "bandwidth": "25.3694",
        "tracks": "a: 1",
    }


def test_clips_that_were_left_out_are_counted_by_their_reason():
    lost = {f"clip{i}": "too short" for i in range(25)} | {"x": "has no text"}
    (first, many), (_, one) = record_rows({"dropped": lost})
    assert first == "left out" and many.startswith("25 (too short): clip0, clip1")
    assert many.endswith("and 5 more") and one == "1 (has no text): x"
    assert record_rows({"dropped": {}}) == []
