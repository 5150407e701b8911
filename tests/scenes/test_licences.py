import pytest

from scenes.licences import TERMS, UNKNOWN, LicencePolicy, from_sketchfab, normalise


@pytest.mark.parametrize(
    ("word", "licence"),
    [
        ("by", "CC-BY-4.0"),
        ("by-nc", "CC-BY-NC-4.0"),
        ("by-sa", "CC-BY-SA-4.0"),
        ("by-nc-sa", "CC-BY-NC-SA-4.0"),
        ("by-nd", "CC-BY-ND-4.0"),
        ("by-nc-nd", "CC-BY-NC-ND-4.0"),
        ("cc0", "CC0-1.0"),
        ("CC-BY", "CC-BY-4.0"),
        ("st", UNKNOWN),
        ("", UNKNOWN),
        (None, UNKNOWN),
        (7, UNKNOWN),
    ],
)
def test_sketchfab_words_become_spdx_ids(word, licence):
    assert from_sketchfab(word) == licence


@pytest.mark.parametrize(
    ("given", "licence"),
    [
        ("cc-by-4.0", "CC-BY-4.0"),
        (" MIT ", "MIT"),
        ("mit OR apache-2.0", "MIT OR Apache-2.0"),
        ("MIT AND CC0-1.0", "MIT AND CC0-1.0"),
        ("MIT OR Apache-2.0 AND Zlib", UNKNOWN),
        ("MIT OR", UNKNOWN),
        ("MIT Apache-2.0 Zlib", UNKNOWN),
        ("Free to use", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_spdx_expressions_are_put_into_their_exact_spelling(given, licence):
    assert normalise(given) == licence


def test_default_policy_takes_share_alike_and_leaves_out_nc_nd_and_unknown():
    policy = LicencePolicy()
    allowed = {licence for licence in (*TERMS, UNKNOWN, "SomethingNew-1.0") if policy.allows(licence)}
    assert allowed == {name for name in TERMS if "-NC" not in name and "-ND" not in name}
    assert "CC-BY-SA-4.0" in allowed


def test_and_needs_all_licences_or_needs_one():
    policy = LicencePolicy()
    assert not policy.allows("MIT AND CC-BY-NC-4.0")
    assert policy.allows("MIT OR CC-BY-NC-4.0")
    assert policy.allows("MIT AND CC-BY-SA-4.0")
    assert not LicencePolicy(share_alike=False).allows("MIT AND CC-BY-SA-4.0")


def test_each_switch_opens_exactly_its_kind():
    assert LicencePolicy(non_commercial=True).allows("CC-BY-NC-4.0")
    assert not LicencePolicy(non_commercial=True).allows("CC-BY-NC-ND-4.0")
    assert LicencePolicy(no_derivatives=True).allows("CC-BY-ND-4.0")
    assert LicencePolicy(unknown=True).allows(UNKNOWN)
    assert not LicencePolicy(unknown=True).allows("CC-BY-NC-4.0")
