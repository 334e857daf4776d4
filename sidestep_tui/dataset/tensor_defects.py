"""What is known to be wrong with the tensors of other trainers, in words for people (INTEROP.md §5.1 to §5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A defect that these files are known for."""

    title: str
    why: str


DEFECTS: Final = {
    "padded_condition": Kind(
        "Padding in the condition",
        "Every song is stored with 769 tokens. The model has no mask and attends to the padding, which it never sees "
        "when it makes music.",
    ),
    "padding_unknown": Kind("Padding that nothing tells apart", "Without a mask the padding cannot be taken out."),
    "zero_timbre": Kind(
        "No timbre reference", "It was made from zeros; ACE-Step itself uses the latent of silence, as it is trained."
    ),
    "bare_lyrics": Kind(
        "Lyrics without their template", "They were read without the '# Languages' and '# Lyric' headings of ACE-Step."
    ),
    "lyrics_cut": Kind("Lyrics cut short", "Only the first 512 tokens were read; ACE-Step reads 2,048."),
    "no_duration": Kind("A prompt that says 'duration: 0 seconds'", "The model learns that such a song has no length."),
    "other_duration": Kind("Another duration in the prompt", "Songs were cut after their length was noted."),
    "tag_baked_in": Kind("A tag that cannot be changed", "The trigger tag is part of the encoded prompt."),
    "no_caption": Kind("No caption", "The prompt describes nothing."),
    "no_metadata": Kind("No metadata", "What the prompt said, and which song it was, is not known any more."),
    "no_condition": Kind("Half encoded", "The second pass was never made: there is no condition to train with."),
    "mask_length": Kind("A mask of another length", "Latents and their mask do not belong together."),
    "other_context": Kind("Another context", "Silence and mask beside the latents have another shape than ACE-Step's."),
    "not_finite": Kind("Values that are not numbers", "One of them makes a whole training step useless."),
}
