"""model.common_part: a network run in two parts answers as it does in one, and which networks can be."""

from __future__ import annotations

import pytest
import torch
from timm.models.eva import Eva

from adaptertune_deploy.model.common_part import common_tokens, has_common_part
from tests.builders import make_task
from tests.model.builders import disturb, make_backbone, make_images, make_model, make_vit


@pytest.mark.parametrize("blocks", [(0, 1, 2), (1,), (2,)])
@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2, "global_pool": "avg", "pre_norm": True}], ids=["", "clip"])
def test_tokens_of_the_common_part_lead_to_the_same_answers(
    blocks: tuple[int, ...], options: dict[str, object]
) -> None:
    model = disturb(make_model(make_task(blocks=blocks), make_backbone(make_vit(**options)))).eval()
    images = make_images(3)
    with torch.no_grad():
        tokens = common_tokens(model.backbone, images, blocks[0])
        assert torch.equal(model(tokens), model(images))


def test_a_network_that_hands_its_blocks_more_than_tokens_has_none() -> None:
    assert has_common_part(make_vit())
    assert not has_common_part(Eva(img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2, use_rot_pos_emb=True))
