"""Proofs hold for what they prove and for nothing else, whatever the tree's size and the segments' cuts."""

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlake as el
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.leaf import event_bytes
from eventlake.core.hashing.proofs import (
    ConsistencyProof,
    InclusionProof,
    consistency_ranges,
    inclusion_ranges,
)
from eventlake.errors import CorruptionError, InvalidInputError, NotFoundError
from tests.support.naive import tree_hash

LEAVES = [bytes([number % 256, number // 256]) for number in range(70)]


def root_of(data):
    return tree_hash(data)


def inclusion(index, size):
    path = tuple(root_of(LEAVES[start:stop]) for start, stop in inclusion_ranges(index, size))
    return InclusionProof(Checkpoint("o", size, root_of(LEAVES[:size]).hex()), index, path)


def consistency(old, new):
    path = tuple(root_of(LEAVES[start:stop]) for start, stop in consistency_ranges(old, new))
    checkpoints = (Checkpoint("o", size, root_of(LEAVES[:size]).hex()) for size in (old, new))
    return ConsistencyProof(*checkpoints, path)


def leaf(index):
    return root_of(LEAVES[index : index + 1])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 64, 70])
def test_an_inclusion_proof_holds_for_its_leaf_alone(size):
    for index in range(size):
        proof = inclusion(index, size)
        assert len(proof.path) <= (size - 1).bit_length()
        holders = [other for other in range(size) if proof.holds_for_leaf(leaf(other))]
        assert holders == [index]


@pytest.mark.parametrize("new", [1, 2, 3, 4, 7, 8, 9, 16, 33, 70])
def test_a_consistency_proof_holds_between_every_two_sizes(new):
    assert all(consistency(old, new).holds() for old in range(new + 1))


@given(st.data())
def test_a_changed_proof_does_not_hold(data):
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion(index, size)
    place = data.draw(st.integers(0, len(proof.path) - 1))
    flipped = bytes([proof.path[place][0] ^ 1]) + proof.path[place][1:]
    for path in (
        (*proof.path[:place], flipped, *proof.path[place + 1 :]),
        (*proof.path[:place], *proof.path[place + 1 :]),
        (*proof.path, proof.path[0]),
    ):
        assert not InclusionProof(proof.checkpoint, index, path).holds_for_leaf(leaf(index))
    shifted = InclusionProof(proof.checkpoint, index + 1, proof.path)
    assert not shifted.holds_for_leaf(leaf(index))


@given(st.data())
def test_a_changed_history_is_not_proved_consistent(data):
    new = data.draw(st.integers(2, 70))
    old = data.draw(st.integers(1, new))
    proof = consistency(old, new)
    wrong = Checkpoint("o", old, root_of([b"x", *LEAVES[1:old]]).hex())
    assert not ConsistencyProof(wrong, proof.new, proof.path).holds()
    if proof.path:
        place = data.draw(st.integers(0, len(proof.path) - 1))
        flipped = bytes([proof.path[place][0] ^ 1]) + proof.path[place][1:]
        assert not ConsistencyProof(
            proof.old, proof.new, (*proof.path[:place], flipped, *proof.path[place + 1 :])
        ).holds()
        assert not ConsistencyProof(proof.old, proof.new, proof.path[:-1]).holds()
        assert not ConsistencyProof(proof.old, proof.new, (*proof.path, proof.path[0])).holds()
    assert not ConsistencyProof(
        Checkpoint("other", old, proof.old.root), proof.new, proof.path
    ).holds()


def test_public_proofs_of_rfc_6962_hold():
    """The proofs printed in RFC 6962, section 2.1.3, over its tree of seven leaves, by the ranges they are made of."""
    assert inclusion_ranges(0, 7) == [(1, 2), (2, 4), (4, 7)]
    assert inclusion_ranges(3, 7) == [(2, 3), (0, 2), (4, 7)]
    assert inclusion_ranges(4, 7) == [(5, 6), (6, 7), (0, 4)]
    assert inclusion_ranges(6, 7) == [(4, 6), (0, 4)]
    assert consistency_ranges(3, 7) == [(2, 3), (3, 4), (0, 2), (4, 7)]
    assert consistency_ranges(4, 7) == [(4, 7)]
    assert consistency_ranges(6, 7) == [(4, 6), (6, 7), (0, 4)]


def events(count):
    draw = random.Random(5)
    return [
        {
            "id": str(n),
            "source": "s",
            "type": draw.choice(["a", "b"]),
            "time": "2026-01-01T00:00:00Z" if n % 3 else None,
            "data": {"n": n},
        }
        | ({"subject": f"/x/{n}"} if n % 2 else {})
        for n in range(count)
    ]


@pytest.fixture(scope="module", params=[[40], [1, 16, 3, 20], [5] * 8], ids=str)
def lake(request, tmp_path_factory):
    lake = el.create(tmp_path_factory.mktemp("proofs") / "lake", "proofs.example")
    rows = events(40)
    for size in request.param:
        lake.append(rows[:size])
        del rows[:size]
    return lake


@pytest.mark.parametrize("at", [1, 2, 17, 32, 40])
def test_every_event_of_a_lake_is_proved_by_text_without_the_lake(lake, at):
    for sequence in range(at):
        text = lake.prove_inclusion(sequence, at=at).text()
        event = lake.snapshot().event(sequence)
        proof = InclusionProof.parse(text)
        assert proof.holds_for(event)
        assert not proof.holds_for(event | {"data": '{"n": -1}'})
        assert not proof.holds_for(event | {"time": 1})
        assert proof.checkpoint == lake.snapshot(at).checkpoint


def test_every_longer_history_is_proved_to_extend_every_shorter_one(lake):
    checkpoints = [lake.snapshot(n).checkpoint for n in range(41)]
    for old in (0, 1, 7, 16, 17, 39, 40):
        for new in (old, 16, 18, 33, 40):
            if old <= new:
                assert lake.prove_consistency(checkpoints[old], at=new).holds()


def test_a_checkpoint_of_another_history_is_not_proved(lake):
    other = el.create("memory://", "proofs.example")
    other.append([*events(9), {"id": "else", "source": "s", "type": "t"}])
    with pytest.raises(CorruptionError):
        lake.prove_consistency(other.checkpoint)
    with pytest.raises(NotFoundError):
        lake.prove_consistency(Checkpoint("else.example", 9, other.checkpoint.root))
    with pytest.raises(InvalidInputError):
        lake.prove_consistency(lake.snapshot(20).checkpoint, at=10)
    with pytest.raises(InvalidInputError):
        lake.prove_inclusion(40)
    with pytest.raises(NotFoundError):
        lake.snapshot(10).event(10)


def test_the_text_of_a_proof_is_the_tlog_proof_of_c2sp(lake):
    proof = lake.prove_inclusion(3, at=5)
    lines = proof.text().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 3"]
    assert [base64.b64decode(line) for line in lines[2 : 2 + len(proof.path)]] == list(proof.path)
    assert lines[2 + len(proof.path) :] == [
        "",
        "proofs.example",
        "5",
        base64.b64encode(bytes.fromhex(proof.checkpoint.root)).decode(),
        "",
    ]


def test_signatures_and_extra_data_in_a_proof_are_passed_over(lake):
    proof = lake.prove_inclusion(3, at=5)
    head, note = proof.text().split("\n\n")
    signed = (
        head.replace("index", "extra YQ==\nindex")
        + "\n\n"
        + note
        + "\n— proofs.example Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+=\n"
    )
    assert InclusionProof.parse(signed) == proof


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "c2sp.org/tlog-proof@v1\nindex x\n\no\n1\nAA==\n",
        "c2sp.org/tlog-proof@v1\nindex 1\nshort\n\no\n2\nA\n",
    ],
)
def test_what_is_no_proof_is_refused(text):
    with pytest.raises(InvalidInputError):
        InclusionProof.parse(text)


@pytest.mark.parametrize("line", ["AAAA", "A" * 44, "~" * 44])
def test_a_line_of_a_proof_that_is_no_hash_is_refused(lake, line):
    head, note = lake.prove_inclusion(3, at=5).text().split("\n\n")
    with pytest.raises(InvalidInputError, match="expected a hash of 32 bytes in base64"):
        InclusionProof.parse(f"{head}\n{line}\n\n{note}")


def test_a_checkpoint_reads_its_own_note(lake):
    checkpoint = lake.checkpoint
    assert Checkpoint.parse(checkpoint.note()) == checkpoint
    assert Checkpoint.parse(checkpoint.note() + "\n— somebody c2lnbmF0dXJl\n") == checkpoint
    assert lake.verify(against=checkpoint.note()).ok


def test_event_bytes_take_text_and_microseconds_only():
    with pytest.raises(InvalidInputError, match="time"):
        event_bytes({"id": "1", "time": "2026-01-01T00:00:00Z"})
    with pytest.raises(InvalidInputError, match="subject"):
        event_bytes({"id": "1", "subject": 7})


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text.replace("tlog-proof@v1", "tlog-proof@v2"),
        lambda text: text.replace("index 3", "index -3"),
        lambda text: text.replace("index 3", "index ²"),
        lambda text: text.replace("index 3", "index "),
        lambda text: text.replace("index 3\n", ""),
    ],
    ids=["empty", "version", "negative", "no digit", "no number", "no index"],
)
def test_a_text_that_begins_like_no_proof_is_refused(change):
    text = inclusion(3, 7).text()
    assert InclusionProof.parse(text) == inclusion(3, 7)
    with pytest.raises(InvalidInputError, match="expected a proof that begins with"):
        InclusionProof.parse(change(text))
