from logstore_cli.show import counted, facts, size, table


def test_columns_are_aligned_and_numbers_stand_to_the_right():
    rows = [("flights", 3, None), ("a", 12, "x")]
    assert table(("topic", "partitions", "owner"), rows) == (
        "TOPIC    PARTITIONS  OWNER\n"
        "flights           3  -\n"
        "a                12  x\n"
    )  # fmt: skip


def test_a_table_without_rows_is_its_heads():
    assert table(("topic", "records"), []) == "TOPIC  RECORDS\n"


def test_facts_stand_below_each_other():
    assert facts((("path", "data"), ("writer", None))) == "path    data\nwriter  -\n"


def test_sizes_for_people():
    assert [size(n) for n in (0, 1023, 1024, 1536, 5 << 20, 3 << 40, 2 << 50)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.0 TiB", "2048.0 TiB",
    ]  # fmt: skip


def test_counts_for_people():
    assert [counted(n, "record") for n in (0, 1, 2000)] == [
        "0 records",
        "1 record",
        "2,000 records",
    ]
