"""Laws of the composed pieces, before and after they sound."""

import numpy as np
import pytest

from data_prep.demo.compose import compose
from data_prep.demo.harmony import SCALES, TONICS, Key, diatonic_chord, voice
from data_prep.demo.instruments import LEADS, PROGRAMS
from data_prep.demo.piece import Note, Part
from data_prep.demo.plan import plan_track
from data_prep.demo.sampler import HIGHEST, LOWEST, SAMPLE_RATE, Sampler
from data_prep.demo.soundfont import SoundFont, find_soundfont
from data_prep.demo.styles import ALL_STYLES, STYLES, UNSEEN
from musicgen_train.errors import UserError

MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
DURATION = (20.0, 30.0)


@pytest.fixture(scope="module")
def pieces():
    plans = [plan_track(0, index) for index in range(48)]
    return [(plan, compose(plan, DURATION)) for plan in plans]


@pytest.fixture(scope="module")
def unseen():
    plans = [plan_track(0, index, tuple(UNSEEN)) for index in range(24)]
    return [(plan, compose(plan, DURATION)) for plan in plans]


@pytest.fixture(scope="module")
def sampler():
    return Sampler(SoundFont(find_soundfont()))


def pitched(piece, *stems):
    return [note for part in piece.parts if part.stem in stems for note in part.notes]


def heard_key(notes):
    """The key whose Krumhansl-Kessler profile fits the sounding pitch classes best."""
    chroma = np.zeros(12)
    for note in notes:
        chroma[note.pitch % 12] += note.duration
    fits = {
        f"{TONICS[family][tonic]} {family}": np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]
        for family, profile in (("major", MAJOR), ("minor", MINOR))
        for tonic in range(12)
    }
    return max(fits, key=fits.__getitem__)


def test_pieces_last_as_long_as_asked_and_stay_in_the_instruments_range(pieces, unseen):
    for _, piece in pieces + unseen:
        assert DURATION[0] <= piece.duration <= DURATION[1]
        notes = [note for part in piece.parts for note in part.notes]
        assert all(LOWEST <= note.pitch <= HIGHEST and 1 <= note.velocity <= 127 for note in notes)
        assert all(0 <= note.start < piece.duration and note.duration > 0 for note in notes)


def test_melodies_stay_in_the_scale_and_end_on_the_tonic(pieces, unseen):
    for plan, piece in pieces + unseen:
        melody = pitched(piece, "melody")
        allowed = {(plan.key.tonic + step) % 12 for step in (*SCALES[plan.key.mode], 11)}
        assert {note.pitch % 12 for note in melody} <= allowed
        last_bar = (len(piece.bars) - 1) * plan.style.beats * 60 / plan.bpm
        final = [note.pitch for note in melody if note.start > last_bar - 0.05]
        assert max(final) % 12 == plan.key.tonic


def test_most_pieces_sound_in_the_key_of_their_label(pieces, unseen):
    for several in (pieces, unseen):
        right = [
            heard_key(pitched(p, "melody", "accompaniment", "bass")) == plan.key.label
            for plan, p in several
        ]
        assert np.mean(right) >= 0.8  # relative keys are confused now and then


def test_verses_repeat_their_tune(pieces):
    """Verse phrases of one length share motifs: each onset has a partner within 60 ms."""
    alike = []
    for plan, piece in pieces:
        bar = plan.style.beats * 60 / plan.bpm
        onsets = np.array([note.start for note in pitched(piece, "melody")])
        verses = [n for n, b in enumerate(piece.bars) if b.section == "verse" and b.position == 0]
        verses = [n for n in verses if piece.bars[n].length == piece.bars[verses[0]].length]
        figures = [
            onsets[(onsets > n * bar - 0.1) & (onsets < (n + 1) * bar - 0.1)] - n * bar
            for n in verses
        ]
        for figure in figures[1:]:
            alike += [np.abs(figures[0] - onset).min() < 0.06 for onset in figure]
    assert len(alike) > 50 and np.mean(alike) > 0.95


def test_a_minor_dominant_has_a_leading_tone_and_the_natural_one_does_not():
    key = Key(9, "minor")
    assert diatonic_chord(key, 5).pcs == (4, 8, 11)
    assert diatonic_chord(key, -5).pcs == (4, 7, 11)


def test_voices_move_less_than_root_positions_would():
    key = Key(0, "major")
    previous = voice(diatonic_chord(key, 1), None, 60)
    for degree in (4, 5, 6, 2, 1):
        chord = diatonic_chord(key, degree)
        pitches = voice(chord, previous, 60)
        assert {pitch % 12 for pitch in pitches} == set(chord.pcs)
        assert max(min(abs(p - q) for q in previous) for p in pitches) <= 4
        previous = pitches


def test_every_artist_plays_several_genres_and_groups_cover_them_all():
    plans = [plan_track(3, index) for index in range(72)]
    by_artist: dict[str, set[str]] = {}
    for plan in plans:
        by_artist.setdefault(plan.artist, set()).add(plan.style.name)
    assert all(len(genres) == 6 for genres in by_artist.values())
    assert {plan.style.name for plan in plans} == set(STYLES)
    assert len({plan.lead for plan in plans}) >= 8
    for n in (3, 8, 25, 48, 72):
        assert len({plan.artist for plan in plans[:n]}) >= max(3, n // 8)


def test_an_unseen_style_shares_no_lead_sound_or_kit_with_the_usual_ones(unseen):
    usual = {LEADS[lead].program for style in STYLES.values() for lead in style.leads}
    usual |= {
        PROGRAMS[program]
        for style in STYLES.values()
        for choices in style.layers
        for layer in choices
        for program in (*layer.programs, *style.bass_programs)
    }
    assert not UNSEEN.keys() & STYLES.keys() and UNSEEN.keys() | STYLES.keys() == set(ALL_STYLES)
    for style in UNSEEN.values():
        assert not usual & {LEADS[lead].program for lead in style.leads}
        assert style.drum_program not in {other.drum_program for other in STYLES.values()}
    assert {plan.lead for plan, _ in unseen} == {
        lead for style in UNSEEN.values() for lead in style.leads
    }
    for plan, piece in unseen:
        others = {part.program for part in piece.parts if part.stem == "accompaniment"}
        assert LEADS[plan.lead].program not in others
        kits = {part.program for part in piece.parts if part.is_drum}
        assert kits == {plan.style.drum_program}


def test_a_corpus_of_some_styles_has_no_others():
    plans = [plan_track(3, index, ("jazz", "chiptune")) for index in range(24)]
    assert {plan.style.name for plan in plans} == {"jazz", "chiptune"}
    # The order in which they are named does not matter.
    assert plans == [plan_track(3, index, ("chiptune", "jazz")) for index in range(24)]


def fundamental(wav, pitch):
    """Semitones between what sounds and a pitch, octaves aside, from the autocorrelation."""
    mono = wav.mean(axis=0)[6000:30000]
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono)), 1 << 16)) ** 2
    auto = np.fft.irfft(spectrum)[:1200]
    peaks = np.flatnonzero((auto[1:-1] > auto[:-2]) & (auto[1:-1] >= auto[2:])) + 1
    peaks = peaks[peaks > 10]
    lag = peaks[auto[peaks] > 0.9 * auto[peaks].max()][0]
    a, b, c = auto[lag - 1 : lag + 2]
    heard = 69 + 12 * np.log2(SAMPLE_RATE / (lag + 0.5 * (a - c) / (a - 2 * b + c)) / 440)
    return (heard - pitch + 6) % 12 - 6


@pytest.mark.parametrize("name", sorted(LEADS))
def test_leads_sound_the_written_pitch(sampler, name):
    lead = LEADS[name]
    for pitch in range(lead.centre - 10, lead.centre + 11, 4):
        wav = sampler.render(Part("melody", lead.program, [Note(0.0, 1.0, pitch, 90)]), SAMPLE_RATE)
        assert abs(fundamental(wav, pitch)) < 0.5, pitch


def test_every_program_sounds_on_every_note(sampler):
    for program in sorted(set(PROGRAMS.values()) | {lead.program for lead in LEADS.values()}):
        for pitch in (LOWEST, HIGHEST):
            wav = sampler.render(Part("bass", program, [Note(0.0, 0.05, pitch, 90)]), 4000)
            assert np.isfinite(wav).all() and np.abs(wav).max() > 1e-3, (program, pitch)


def test_a_note_ends_soon_after_its_key_is_up(sampler):
    wav = sampler.render(
        Part("melody", LEADS["organ"].program, [Note(0.0, 0.5, 60, 90)]), 3 * SAMPLE_RATE
    )
    assert np.abs(wav[:, 10000:20000]).max() > 0.01
    assert np.abs(wav[:, 2 * SAMPLE_RATE :]).max() == 0.0


def test_an_open_hat_is_cut_off_by_a_closed_one(sampler):
    ringing = sampler.render(Part("drums", 0, [Note(0.0, 0.1, 46, 100)], is_drum=True), SAMPLE_RATE)
    notes = [Note(0.0, 0.1, 46, 100), Note(0.1, 0.1, 42, 1)]
    choked = sampler.render(Part("drums", 0, notes, is_drum=True), SAMPLE_RATE)
    later = slice(int(0.2 * SAMPLE_RATE), int(0.4 * SAMPLE_RATE))
    assert np.std(choked[:, later]) < 0.3 * np.std(ringing[:, later])


def test_an_absent_program_and_a_broken_soundfont_are_named(sampler, tmp_path):
    with pytest.raises(UserError, match="program 200"):
        sampler.soundfont.regions(0, 200)
    path = tmp_path / "broken.sf2"
    path.write_bytes(b"no soundfont")
    with pytest.raises(UserError, match=r"broken\.sf2 is no SoundFont"):
        SoundFont(path)


def test_a_missing_soundfont_names_the_package_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install pretty_midi"):
        find_soundfont()
