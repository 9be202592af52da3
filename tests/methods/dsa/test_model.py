"""DSA-reID: what its terms build, fusion, losses, images without a surface, what a finished run
keeps; its recipes.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partreid.errors import RecipeError, ShapeError
from partreid.layers.trunks import BACKBONES
from partreid.layers.warp import REGIONS, as_tiles, covered
from partreid.losses import hard_triplet, id_loss
from partreid.methods.dsa.model import BRANCHES, DSA
from partreid.recipes import ROWS, find
from partreid.types import Batch, Embeddings

TERMS = (
    "id_global",
    "id_parts",
    "id_fused_global",
    "id_fused_parts",
    "triplet_fused_global",
    "triplet_fused_parts",
)
IDS = torch.arange(8) // 2
DSA_ROWS = {r.name: r for r in ROWS if r.name.startswith("dsa/")}


def dsa(terms: Sequence[str] = TERMS, width: int = 4, **options: Any) -> DSA:
    return DSA(BACKBONES["small"](width=width), 4, terms, **options)


def images(n: int = 8) -> Tensor:
    return torch.randn(n, 3, 32, 16)


def cue(n: int = 8, size: int = 8) -> Tensor:
    tiles = torch.randint(256, (n, 24, 4, size, size), dtype=torch.uint8)
    tiles[:, :, 3] = torch.rand(n, 24, size, size) < 0.3
    return tiles


def batch(n: int = 8) -> Batch:
    return Batch(images(n), IDS[:n], torch.ones(n, dtype=torch.int64), {"uv_tiles": cue(n)})


def test_streams_pool_and_add_up() -> None:
    method, some = dsa().eval(), batch(3)
    with torch.no_grad():
        out = method(some.images, some.cues)
        assert method.guide is not None
        guided = method.guide(as_tiles(some.cues["uv_tiles"]))
        f = method.trunk(some.images)
        whole = method.heads["global"](f).flatten(2).sum(2) / (f.shape[2] * f.shape[3])
        torch.testing.assert_close(out.groups["global"].vectors[:, 0], whole)  # f_G
        torch.testing.assert_close(
            out.groups["fused_global"].vectors[:, 0], whole + guided["global"]
        )  # z_G
        for i, head in enumerate(method.heads["parts"]):
            local = head(f).flatten(2).mean(2)
            torch.testing.assert_close(out.groups["parts"].vectors[:, i], local)  # f_L,i
            torch.testing.assert_close(
                out.groups["fused_parts"].vectors[:, i], local + guided["parts"][:, i]
            )  # z_L
    assert out.groups["parts"].names == out.groups["fused_parts"].names == REGIONS


def test_concatenation_is_a_linear_layer_per_branch() -> None:
    plain, concat = dsa().eval(), dsa(fusion="concat").eval()
    concat.load_state_dict(
        plain.state_dict()
        | {
            f"fuse.{n}.{k}": v
            for n in ("global", "parts")
            for k, v in concat.fuse[n].state_dict().items()
        }
    )
    some = batch(3)
    with torch.no_grad():
        a, b = plain(some.images, some.cues).groups, concat(some.images, some.cues).groups
        for name in ("global", "parts"):
            f = a[name].vectors.flatten(1)
            d = a[f"fused_{name}"].vectors.flatten(1) - f
            layer = concat.fuse[name]
            both = torch.cat([f, d], 1) @ layer.weight.T + layer.bias
            torch.testing.assert_close(
                b[f"fused_{name}"].vectors.flatten(1), both, atol=1e-5, rtol=1e-4
            )
            assert b[f"fused_{name}"].vectors.shape == a[name].vectors.shape


def test_losses_one_by_one() -> None:
    method, some = dsa((*TERMS, "triplet_global", "triplet_parts")).train(), batch()
    method.part_id = "mean"
    out = method(some.images, some.cues)
    terms, g = method.losses(out, some), out.groups
    assert tuple(terms) == method.terms

    def entropy(name: str, i: int, x: Tensor) -> Tensor:
        return id_loss(method.id[name][i](x[:, None])[:, 0], IDS, 0.1)

    parts = [entropy("parts", i, g["parts"].vectors[:, i]) for i in range(8)]
    torch.testing.assert_close(terms["id_parts"], torch.stack(parts).mean())
    method.part_id = "sum"
    torch.testing.assert_close(method.losses(out, some)["id_parts"], torch.stack(parts).sum())
    torch.testing.assert_close(terms["id_global"], entropy("global", 0, g["global"].vectors[:, 0]))
    torch.testing.assert_close(
        terms["id_fused_parts"], entropy("fused_parts", 0, g["fused_parts"].vectors.flatten(1))
    )
    for name in ("global", "parts", "fused_global", "fused_parts"):
        e = Embeddings.single(name, g[name].vectors.flatten(1))
        torch.testing.assert_close(terms[f"triplet_{name}"], hard_triplet(e, IDS, 0.3))


def test_described_vectors_are_compared_end_to_end_at_length_one() -> None:
    method = dsa().eval()
    with torch.no_grad():
        out = method(images(3))
        e = method.embed(out)
        x = torch.cat(
            [out.groups["global"].vectors[:, 0], out.groups["parts"].vectors.flatten(1)], 1
        )
        assert e.names == ("all",) and torch.equal(e.vectors[:, 0], x)
        x = x / x.norm(dim=1, keepdim=True)
        torch.testing.assert_close(method.distance(e, e), torch.cdist(x, x), atol=2e-3, rtol=1e-3)


def test_the_guide_is_not_asked_at_test_time() -> None:
    method, some = dsa().eval(), batch(3)
    with torch.no_grad():
        bare, full = method(some.images), method(some.images, some.cues)
        assert set(bare.groups) == {"global", "parts"} and set(full.groups) - set(bare.groups) == {
            "fused_global",
            "fused_parts",
        }
        assert torch.equal(method.embed(bare).vectors, method.embed(full).vectors)


@pytest.mark.parametrize(
    ("terms", "heads", "fused"),
    [
        (("id_global", "triplet_global"), {"global"}, False),
        (("id_global", "triplet_global", "id_parts", "triplet_parts"), {"global", "parts"}, False),
        (("id_global", "id_fused_global", "triplet_fused_global"), {"global"}, True),
        (("id_parts", "id_fused_parts", "triplet_fused_parts"), {"parts"}, True),
        (TERMS, {"global", "parts"}, True),
    ],
)
def test_terms_say_what_is_built(terms: tuple[str, ...], heads: set[str], fused: bool) -> None:
    method = dsa(terms)
    assert set(method.heads) == heads == set(method.described)
    assert (method.guide is not None) is fused
    if method.guide is not None:
        assert set(method.guide.heads) == heads
    assert set(method.id) == {term.removeprefix("id_") for term in terms if term.startswith("id_")}
    assert method.needs == DSA.needed(terms) == ({"uv_tiles"} if fused else set())
    assert not method.needs_at_test


def test_a_slice_is_an_eighth_of_the_channels() -> None:
    method = dsa(local_input="slice", width=8).eval()  # feature map of 32 channels
    f = torch.randn(2, 32, 4, 2)
    with torch.no_grad():
        before = method._pooled("parts", f)
        f[:, 12:16] += 1
        moved = (method._pooled("parts", f) != before).any(2)
    assert moved.tolist() == [[i == 3 for i in range(8)]] * 2
    with pytest.raises(RecipeError, match="cuts a feature map of 20 channels into 8"):
        dsa(local_input="slice", width=5)


def test_the_global_branch_starts_at_random_or_as_the_trunk_does() -> None:
    trunk = BACKBONES["small"](width=4)
    last = [p.clone() for p in trunk.coarse[-1].parameters()]
    copied = list(DSA(deepcopy(trunk), 4, TERMS, head_init="imagenet").heads["global"].parameters())
    fresh = list(DSA(deepcopy(trunk), 4, TERMS).heads["global"].parameters())
    assert all(torch.equal(a, b) for a, b in zip(last, copied, strict=True))
    assert [a.shape for a in last] == [a.shape for a in fresh] and not torch.equal(
        last[0], fresh[0]
    )


def statistics(method: DSA) -> list[Tensor]:
    assert method.guide is not None
    return [b.clone() for n, b in method.guide.named_buffers() if "running" in n]


class TestMissing:
    SEEN = torch.tensor([True, True, False, True, False, False, True, True])

    def some(self, seen: Tensor) -> Batch:
        given = batch()
        given.cues["uv_tiles"][~seen, :, 3] = 0
        assert torch.equal(covered(given.cues["uv_tiles"]), seen)
        return given

    def test_skipped_images_keep_their_own_vectors_and_out_of_the_statistics(self) -> None:
        method, some = dsa(missing="skip").train(), self.some(self.SEEN)
        alone = deepcopy(method)
        out = method(some.images, some.cues)
        assert alone.guide is not None
        guided = alone.guide(as_tiles(some.cues["uv_tiles"][self.SEEN]))
        for name in ("global", "parts"):
            f, z = out.groups[name].vectors, out.groups[f"fused_{name}"].vectors
            assert torch.equal(z[~self.SEEN], f[~self.SEEN])
            torch.testing.assert_close(
                (z - f)[self.SEEN].view_as(guided[name]), guided[name], atol=1e-5, rtol=1e-4
            )
        assert all(
            torch.equal(a, b) for a, b in zip(statistics(method), statistics(alone), strict=True)
        )

    def test_blank_tiles_are_seen_otherwise(self) -> None:
        method, some = dsa().train(), self.some(self.SEEN)
        out = method(some.images, some.cues)
        assert (out.groups["fused_global"].vectors != out.groups["global"].vectors).any(2).all()

    def test_a_batch_without_any_surface_leaves_the_guide_as_it_was(self) -> None:
        method, some = dsa(missing="skip").train(), self.some(torch.zeros(8, dtype=torch.bool))
        before = statistics(method)
        torch.stack(
            list(method.losses(method(some.images, some.cues), some).values())
        ).sum().backward()
        assert method.guide is not None
        grads = [p.grad for p in method.guide.parameters()]
        # zero, but there: several processes wait for it
        assert all(g is not None and not g.any() for g in grads)
        assert all(torch.equal(a, b) for a, b in zip(before, statistics(method), strict=True))


class TestGuideShare:
    @pytest.mark.parametrize("neck", [False, True])
    def test_a_loss_on_sums_is_mixed_with_the_same_loss_on_the_trunk_s_own(
        self, neck: bool
    ) -> None:
        method, some = dsa(guide_share=0.25, neck=neck).train(), batch()
        out = method(some.images, some.cues)
        bare = replace(out, groups={n: e for n, e in out.groups.items() if "fused" not in n})
        swapped = replace(out, groups=out.groups | {f"fused_{n}": bare.groups[n] for n in BRANCHES})
        mixed = method.losses(out, some)
        method.guide_share = 1.0
        sums, alone = method.losses(out, some), method.losses(swapped, some)
        for name, loss in mixed.items():
            want = 0.25 * sums[name] + 0.75 * alone[name] if "fused" in name else sums[name]
            torch.testing.assert_close(loss, want)
            assert ("fused" in name) == bool((sums[name] - alone[name]).abs() > 1e-4)

    def test_trunk_and_guide_learn_from_a_fused_term(self) -> None:
        method, some = dsa(guide_share=0.25).train(), batch()
        out = method(some.images, some.cues)
        for e in out.groups.values():
            e.vectors.retain_grad()
        terms = method.losses(out, some)
        (terms["id_fused_global"] + terms["triplet_fused_global"]).backward()
        for name in ("global", "fused_global"):
            grad = out.groups[name].vectors.grad
            assert grad is not None and grad.flatten(1).any(1).all()
        assert method.guide is not None
        for learns in (method.heads["global"], method.guide.heads["global"], method.guide.stem):
            assert all(p.grad is not None and p.grad.any() for p in learns.parameters())

    def test_without_a_share_there_is_no_guide_and_all_losses_are_the_trunk_s(self) -> None:
        torch.manual_seed(0)
        method, some = dsa(guide_share=0.0).train(), batch()
        assert method.guide is None and set(method.id) == set(dsa().id)
        out = method(some.images, some.cues)
        assert set(out.groups) == {"global", "parts"}
        terms = method.losses(out, some)
        assert list(terms) == list(method.terms)
        f = out.groups["parts"]
        torch.testing.assert_close(terms["triplet_fused_parts"], hard_triplet(f.joined(), IDS, 0.3))
        want = id_loss(method.id["fused_parts"](f.joined()), IDS, 0.1)
        torch.testing.assert_close(terms["id_fused_parts"], want)
        torch.stack(list(terms.values())).sum().backward()
        assert all(p.grad is not None for p in method.parameters())
        with pytest.raises(RecipeError, match="no embedding 'fused_global': its loss terms"):
            dsa(guide_share=0.0, described=("fused_global",))

    def test_more_than_all_is_refused(self) -> None:
        with pytest.raises(RecipeError, match="guide_share=1.5 is no share"):
            dsa(guide_share=1.5)


class TestNeck:
    def test_losses_and_description_are_those_behind_it(self) -> None:
        method, some = dsa(neck=True).train(), batch()
        out = method(some.images, some.cues)
        terms = method.losses(out, some)
        for name in ("global", "parts", "fused_global", "fused_parts"):
            x = out.groups[name].vectors
            x = x if name == "parts" else x.flatten(1)[:, None]
            flat = x.flatten(1)
            flat = (flat - flat.mean(0)) / (flat.var(0, unbiased=False) + 1e-5).sqrt()
            weight = method.id[name].classifier
            each = [id_loss(part @ w.T, IDS, 0.1) for part, w in
                    zip(flat.view_as(x).unbind(1), weight, strict=True)]  # fmt: skip
            want = torch.stack(each).sum()
            torch.testing.assert_close(terms[f"id_{name}"], want, atol=1e-4, rtol=1e-4)
        e = method.eval().embed(out)
        norms = [method.id[name].norm for name in ("global", "parts")]
        want = torch.cat(
            [norm(out.groups[name].vectors.flatten(1))
             for norm, name in zip(norms, ("global", "parts"), strict=True)], 1
        )  # fmt: skip
        torch.testing.assert_close(e.vectors[:, 0], want)

    @pytest.mark.parametrize("described", [None, ("fused_parts", "global")])
    def test_a_finished_run_keeps_it(self, described: Any) -> None:
        method, some = dsa(neck=True, described=described), batch(3)
        method.train()(some.images, some.cues)
        method.losses(method(some.images, some.cues), batch(3))  # statistics other than 0 and 1
        method.eval()
        with torch.no_grad():
            before = method.embed(method(some.images, some.cues)).vectors
            kept = method.strip_for_inference()
            assert set(kept.id) == set(kept.described)
            again = dsa(neck=True, described=described).strip_for_inference().eval()
            again.load_state_dict(kept.state_dict())
            assert torch.equal(again.embed(again(some.images, some.cues)).vectors, before)


@pytest.mark.parametrize("fusion", ["add", "concat"])
def test_wide_parts_are_as_wide_on_both_streams(fusion: Any) -> None:
    method, some = dsa(part_share=2, fusion=fusion).eval(), batch(3)  # of 32 channels
    out = method(some.images, some.cues)
    for name in ("parts", "fused_parts"):
        assert tuple(out.groups[name].vectors.shape) == (3, 8, 16)
    if fusion == "add":
        assert method.guide is not None
        d = method.guide(as_tiles(some.cues["uv_tiles"]))["parts"]
        torch.testing.assert_close(
            out.groups["fused_parts"].vectors, out.groups["parts"].vectors + d
        )
    assert method.embed(out).vectors.shape[2] == 32 + 8 * 16


@pytest.mark.parametrize(
    "described",
    [
        None,
        ("global",),
        ("fused_global",),
        ("fused_parts", "global"),
        ("fused_global", "fused_parts"),
    ],
)
@pytest.mark.parametrize("fusion", ["add", "concat"])
def test_a_finished_run_keeps_what_is_described_and_no_more(described: Any, fusion: Any) -> None:
    method, some = dsa(described=described, fusion=fusion).eval(), batch(3)
    with torch.no_grad():
        before = method.embed(method(some.images, some.cues)).vectors
        kept = method.strip_for_inference()
        assert torch.equal(kept.embed(kept(some.images, some.cues)).vectors, before)
        tensors = kept.state_dict()
        again = dsa(described=described, fusion=fusion).strip_for_inference().eval()
        again.load_state_dict(tensors)
        assert torch.equal(again.embed(again(some.images, some.cues)).vectors, before)
    fused = [name for name in method.described if "fused" in name]
    assert (kept.guide is None) is (not fused) and len(kept.id) == 0
    assert set(kept.heads) == {name.removeprefix("fused_") for name in method.described}
    if kept.guide is not None:
        assert set(kept.guide.heads) == {name.removeprefix("fused_") for name in fused}
    assert set(kept.fuse) == (
        {name.removeprefix("fused_") for name in fused} if fusion == "concat" else set()
    )
    assert kept.needs_at_test == ({"uv_tiles"} if fused else set())


def test_matching_fused_vectors_needs_the_cue() -> None:
    method = dsa(described=("fused_global",)).eval()
    assert method.needs_at_test == {"uv_tiles"}
    with pytest.raises(
        ShapeError, match="'fused_global'.*needs the cue 'uv_tiles'.*also at test time"
    ):
        method.embed(method(images(2)))
    some = batch()
    with pytest.raises(ShapeError, match="needs the cue 'uv_tiles' with every image$"):
        dsa().losses(dsa()(some.images), some)


def test_what_is_not_built_cannot_be_described() -> None:
    with pytest.raises(
        RecipeError, match="dsa has no embedding 'parts': its loss terms build global, fused_global"
    ):
        dsa(("id_global", "id_fused_global"), described=("parts",))
    with pytest.raises(
        RecipeError, match="dsa has no embedding 'fused_global': its loss terms build global$"
    ):
        dsa(("id_global",), described=("fused_global",))


def test_maps_that_come_with_the_image_are_warped_here() -> None:
    method = dsa(tile=8).eval()
    maps = torch.randint(256, (2, 32, 16, 6), dtype=torch.uint8)
    maps[..., 0] %= 25
    with torch.no_grad():
        assert method.guide is not None
        x = images(2)
        out = method(x, {"uv_tiles": maps}).groups
        guided = method.guide(as_tiles(maps, 8))["global"]
    torch.testing.assert_close(
        out["fused_global"].vectors[:, 0], out["global"].vectors[:, 0] + guided
    )


def test_recipes_hold_the_papers_numbers() -> None:
    market = find("dsa/table2/market1501")
    assert dict(market.stages[0].weights) == {
        "id_global": 0.5,
        "id_parts": 0.5,
        "triplet_fused_global": 1.5,
        "triplet_fused_parts": 1.5,
        "id_fused_global": 1.0,
        "id_fused_parts": 1.0,
    }
    rows = {
        table: [n for n in DSA_ROWS if n.startswith(f"dsa/table{table}/")] for table in (2, 3, 4, 5)
    }
    assert {table: len(names) for table, names in rows.items()} == {2: 6, 3: 10, 4: 3, 5: 2}
    for table in (3, 4, 5):
        for name in rows[table]:
            e = DSA_ROWS[name].expect
            assert e is not None and e.where == f"DSA Table {table}"
            assert None not in (e.mAP, e.rank1, e.rank5, e.rank10)
    assert find("dsa/table2/cuhk01").start and not find("dsa/table2/cuhk01/without-cuhk03").start
    literal = find("dsa/literal/market1501")
    assert dict(literal.cues["uv_tiles"].args) == {"align": "none", "collision": "last"}
    assert len(literal.notes) == len(market.notes) - 1


@pytest.mark.parametrize(
    "table", ["dsa/table2", "dsa/table3", "dsa/table4", "dsa/table5", "dsa/literal"]
)
def test_rows_of_one_table_differ(table: str) -> None:
    digests = [r.digest for name, r in DSA_ROWS.items() if name.startswith(table)]
    assert len(set(digests)) == len(digests) > 1


def test_baselines_train_without_a_guide() -> None:
    for name in ("baseline", "baseline-re", "baseline-re-ls", "baseline-two-branches"):
        recipe = find(f"dsa/table3/{name}")
        method = DSA(BACKBONES["small"](width=4), 4, recipe.terms, **recipe.method.args)
        assert method.guide is None and not recipe.cues and not method.needs
        assert ("erase" in [t.name for t in recipe.augment]) is (name != "baseline")
        assert method.smoothing == (0.0 if name in ("baseline", "baseline-re") else 0.1)
        assert isinstance(method.fuse, nn.ModuleDict) and not method.fuse


def test_the_synthetic_rows_depart_and_one_row_does_not() -> None:
    small, large = find("synthetic/small/dsa").method.args, find("synthetic/full/dsa").method.args
    assert dict(large) == {"neck": True, "guide_share": 0.25}
    assert dict(small) == {**large, "part_share": 2}
    paper = dsa(**find("dsa/control/as-written@small").method.args)
    usual = dsa()
    assert (paper.neck, paper.guide_share) == (usual.neck, usual.guide_share) == (False, 1.0)
    assert [p.shape for p in paper.parameters()] == [p.shape for p in usual.parameters()]
    notes = " ".join(find("synthetic/small/dsa").notes)
    assert "BN-neck" in notes and "a quarter of every loss" in notes and "half the trunk's" in notes
