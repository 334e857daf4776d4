"""The tokenizer of the embedded model: byte-level BPE, trained in a blink on the text below."""

from __future__ import annotations

from typing import Any

_VOCABULARY = 640

_CORPUS = (
    "# Instruction\nFill the audio semantic mask based on the given conditions:\n\n# Caption\n",
    "# Metas\n- bpm: 120\n- timesignature: 4\n- keyscale: C major\n- duration: 60 seconds\n",
    "- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n- duration: 30 seconds\n",
    "# Languages\nen\n\n# Lyric\n[Instrumental]",
    "# Languages\nunknown\n\n# Lyric\n[Intro]\n[Verse 1]\n[Pre-Chorus]\n[Chorus]\n[Bridge]\n[Outro]\n",
    "A warm analog synthesizer pad over a steady kick drum, a rolling bass line and soft hats.",
    "Fast drums, distorted bass, minor key, dark and driving electronic dance music.",
    "Slow acoustic guitar ballad with gentle piano chords, strings and a calm female voice.",
    "Bright pop song with claps, a catchy chorus, a deep bass and a short drum fill.",
    "Psychedelic trance with a galloping bass, squelching acid lead, and long filter sweeps.",
    "Lo-fi hip hop beat, dusty vinyl noise, jazzy electric piano, relaxed mood.",
    "The morning rises over the river and I am walking home again,",
    "we sing along the empty road until the light is gone;",
    "keep the rhythm, hold the note, let the melody carry on.",
    "A minor, B minor, C major, D major, E minor, F major, G major, F# minor, Bb major, Eb major",
    "tempo swing groove reverb delay chorus verse bridge drop build breakdown harmony",
)


def train_tokenizer(end_of_text: str) -> Any:
    """A `tokenizers.Tokenizer` that ends every sequence with `end_of_text`, as that of Qwen3-Embedding does.

    The same text always gives the same vocabulary. `end_of_text` is one token wherever it appears.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[end_of_text],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end_of_text}", special_tokens=[(end_of_text, tokenizer.token_to_id(end_of_text))]
    )
    return tokenizer
