"""A program written down as two kernels for Triton that run over all steps, forward and back.

A program of the kernel takes a tile of sequences and a slice of the channels, all gates of them. It
does at each step what the phases of `emit` do, with the products of the slice between them. The
programs of a tile exchange what a product reads in global memory, once it is written by all: a
barrier before each product. What is exchanged has a place of its own at each step, so nothing is
written over that another program may still read. A single slice has no barrier.

For Triton's interpreter, which runs one program after another, the kernels also take a part of one
step (`SEGMENT`): what lies between two barriers.
"""

from plait.kernels.gpu.emit import ROUNDED, WrittenProgram
from plait.kernels.gpu.emit_phase import Phase, Writer
from plait.kernels.gpu.expressions import identifier, module
from plait.kernels.program import Product

FUNCTIONS = '''
@triton.jit
def barrier(sync, target, SLICES: tl.constexpr):
    """Wait until all programs of a tile are here, and what they wrote can be read."""
    tl.debug_barrier()
    if SLICES > 1:
        tl.atomic_add(sync, 1, sem="release", scope="gpu")
        while tl.atomic_add(sync, 0, sem="acquire", scope="gpu") < target:
            pass
        tl.debug_barrier()


@triton.jit
def slice_of(weights, by_k, by_c, H: tl.constexpr, BH: tl.constexpr, SPLIT: tl.constexpr,
             BK: tl.constexpr, ROUND: tl.constexpr):
    """Load the weights of this program's channels, [SPLIT, BK, BH]."""
    k = tl.arange(0, SPLIT)[:, None, None] * BK + tl.arange(0, BK)[None, :, None]
    c = tl.program_id(1) * BH + tl.arange(0, BH)[None, None, :]
    u = tl.load(weights + k * by_k + c * by_c, mask=(k < H) & (c < H), other=0.0)
    return rounded(u, ROUND)


@triton.jit
def whole_rows(values, width, block, rows, H: tl.constexpr, BR: tl.constexpr, SPLIT: tl.constexpr,
               BK: tl.constexpr, ROUND: tl.constexpr):
    """Load all channels of this tile's rows, which other programs wrote, [SPLIT, BR, BK]."""
    k = tl.arange(0, SPLIT)[:, None, None] * BK + tl.arange(0, BK)[None, None, :]
    row = block * BR + tl.arange(0, BR)[None, :, None]
    x = tl.load(values + row * width + k, mask=(row < rows) & (k < H), other=0.0,
                cache_modifier=".cg")
    return rounded(x, ROUND)


@triton.jit
def multiplied(values, width, weights, by_k, by_c, row, col, rows, H: tl.constexpr,
               BH: tl.constexpr, BR: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
               ROUND: tl.constexpr):
    """Multiply where one program has all channels, some inputs at a time."""
    total = tl.zeros([BR, BH], tl.float32)
    for first in range(0, H, BK):
        k = first + tl.arange(0, BK)
        x = tl.load(values + row * width + k[None, :], mask=(row < rows) & (k[None, :] < H),
                    other=0.0, cache_modifier=".cg")
        u = tl.load(weights + k[:, None] * by_k + col * by_c, mask=(k[:, None] < H) & (col < H),
                    other=0.0)
        total = tl.dot(rounded(x, ROUND), rounded(u, ROUND), total, input_precision=PRECISION)
    return total
'''

CONSTANTS = (
    "H", "BH", "BR", "BK", "SPLIT", "SLICES", "SEGMENT", "PRECISION", "ROUND", "LENGTHS", "KEEP",
)  # fmt: skip


class WrittenLoops(WrittenProgram):
    """A program, its gradient, and the kernels of all steps."""

    def write(self, title: str) -> str:
        """Write the kernels, and return the module that holds them."""
        self.all_forward, self.all_backward = _Forward(self).phase(), _Backward(self).phase()
        texts = [ROUNDED, FUNCTIONS.strip(), self.all_forward.text, self.all_backward.text]
        return module(title, texts)


class _Loop:
    """Writes a kernel over all steps."""

    name: str

    def __init__(self, code: WrittenLoops) -> None:
        self.code, self.program = code, code.program
        self.used: dict[str, None] = {}
        self.before: list[str] = []
        self.segments: list[list[str]] = [[]]
        self.ahead: dict[int, list[str]] = {}
        """By segment, loads that do not wait for the barrier before it."""

    def phase(self) -> Phase:
        """Write the kernel."""
        self.compose()
        streams = "".join(f"{identifier(name)}, " for name in self.used)
        constants = ", ".join(f"{name}: tl.constexpr" for name in CONSTANTS)
        waits = len(self.segments) - 1
        lines = [
            '@triton.jit(do_not_specialize=["t0", "t1", "first", "rows"])',
            f"def {self.name}(t0, t1, first, rows, lengths, sync, {streams}{constants}):",
            "    block = tl.program_id(0).to(tl.int64) + first",
            "    row = block * BR + tl.arange(0, BR)[:, None]",
            "    col = tl.program_id(1) * BH + tl.arange(0, BH)[None, :]",
            "    here, inside = (row < rows) & (col < H), col < H",
            "    zeros = tl.zeros([BR, BH], tl.float32)",
            "    if LENGTHS:",
            "        length = tl.load(lengths + row, mask=row < rows, other=0)",
        ]
        if self.before:
            lines += ["    if SLICES > 1:", *(f"        {line}" for line in self.before)]
        lines += [
            "    for n in range(0, t1 - t0):",
            f"        t = {self.step}",
            "        at = tl.cast(t, tl.int64) * rows + row",
            "        alive = row < rows",
            "        if LENGTHS:",
            "            alive = alive & (t < length)",
            "        tl.debug_barrier()",
        ]
        for k, segment in enumerate(self.segments):
            if k:
                ahead = [f"            {line}" for line in self.ahead.get(k, [])]
                lines += [
                    "        if SEGMENT == -1:",
                    *ahead,
                    f"            barrier(sync + block, (n * {waits} + {k}) * SLICES, SLICES)",
                ]
                if ahead:
                    lines += [f"        if SEGMENT == {k}:", *ahead]
            if segment:
                lines.append(f"        if (SEGMENT == -1) | (SEGMENT == {k}):")
                lines += [f"            {line}" for line in segment]
        return Phase(self.name, "\n".join(lines), tuple(self.used), self.code.whole_rows)

    def compose(self) -> None:
        """Write the segments of a step."""
        raise NotImplementedError

    step: str

    def wait(self) -> None:
        """Begin what comes after a barrier."""
        self.segments.append([])

    def add(self, lines: list[str]) -> None:
        """Add to what lies between two barriers."""
        self.segments[-1] += lines

    def use(self, name: str) -> str:
        """Return a stream's name in the kernel."""
        self.used[name] = None
        return identifier(name)


_SPLIT = "H, BR, SPLIT, BK, ROUND"
_WHOLE = "row, col, rows, H, BH, BR, BK, PRECISION, ROUND"


class _Forward(_Loop):
    name, step = "all_forward", "t0 + n"

    def compose(self) -> None:
        """Write phase 0; then after each barrier the products of a stage, and the next phase."""
        plan, program = self.code.forward_plan, self.program
        self._phase(0, {})
        for stage in range(program.stages):
            self.wait()
            at_hand: dict[tuple[str, int], str] = {}
            for p in program.products:
                if p.stage == stage:
                    at_hand |= self._product(p)
            if stage + 1 < len(plan.effects):
                self._phase(stage + 1, at_hand)

    def _phase(self, stage: int, at_hand: dict[tuple[str, int], str]) -> None:
        plan = self.code.forward_plan
        effects = plan.effects[stage]
        if effects:
            writer = Writer(plan, f"forward_{stage}", stage, effects, self.program.names, at_hand)
            given, rest = writer.parts()
            segment = len(self.segments) - 1
            if segment:
                self.ahead[segment] = given
            self.add(rest if segment else [*given, *rest])
            self.used |= writer.used

    def _product(self, p: Product) -> dict[tuple[str, int], str]:
        """Multiply, and return the names of what each gate gets."""
        values, weights = self.use(self.code.source_of_value(p)), self.use(f"weights {p.index}")
        step = f"{values} + tl.cast(t, tl.int64) * rows * H"
        split, whole = [f"x = whole_rows({step}, H, block, rows, {_SPLIT})"], []
        at_hand = {}
        for g in range(len(p.gates)):
            name, own = f"product_{p.index}_{g}", f"{weights} + {g} * H * H"
            self.before.append(f"u_{p.index}_{g} = slice_of({own}, 1, H, H, BH, SPLIT, BK, ROUND)")
            split.append(
                f"{name} = tl.sum(tl.dot(x, u_{p.index}_{g}, input_precision=PRECISION), axis=0)"
            )
            whole.append(f"{name} = multiplied({step}, H, {own}, 1, H, {_WHOLE})")
            at_hand[f"recurrent {p.index}", g] = name
        self.add(_either(split, whole) + self.code.kept_for_later(p, self.use))
        return at_hand


class _Backward(_Loop):
    name, step = "all_backward", "t1 - 1 - n"

    def compose(self) -> None:
        """Write each phase, and after a barrier what its gradients bring back."""
        plan, program = self.code.backward_plan, self.program
        at_hand: dict[tuple[str, int], str] = {}
        for stage in range(max(program.stages, len(plan.effects))):
            effects = plan.effects[stage] if stage < len(plan.effects) else []
            if effects:
                writer = Writer(plan, f"backward_{stage}", stage, effects, {}, at_hand)
                self.add(writer.body())
                self.used |= writer.used
            at_hand = {}
            products = [p for p in program.products if program.stages - 1 - p.stage == stage]
            if products:
                self.wait()
            for p in products:
                at_hand |= self._product(p)

    def _product(self, p: Product) -> dict[tuple[str, int], str]:
        """Sum over the gates what comes back, and keep it for this step and the next one."""
        stream, first = self.code.source_of(p.index)
        width = self.code.backward_plan.streams[stream].width
        grads, weights = self.use(stream), self.use(f"weights {p.index}")
        step = f"{grads} + tl.cast(t, tl.int64) * rows * ({width} * H)"
        name, split, whole = f"back_{p.index}", [], []
        for g in range(len(p.gates)):
            own, part = f"{weights} + {g} * H * H", f"{step} + {first + g} * H"
            self.before.append(f"u_{p.index}_{g} = slice_of({own}, H, 1, H, BH, SPLIT, BK, ROUND)")
            dot = f"tl.dot(g, u_{p.index}_{g}, input_precision=PRECISION)"
            split.append(f"g = whole_rows({part}, {width} * H, block, rows, {_SPLIT})")
            split.append(f"sums_{p.index} {'+=' if g else '='} {dot}")
            one = f"multiplied({part}, {width} * H, {own}, H, 1, {_WHOLE})"
            whole.append(f"{name} {'+=' if g else '='} {one}")
        split.append(f"{name} = tl.sum(sums_{p.index}, axis=0)")
        target = self.use(f"dvalue {p.index}")
        self.add([*_either(split, whole), f"tl.store({target} + row * H + col, {name}, mask=here)"])
        return {(f"dvalue {p.index}", 0): name}


def _either(split: list[str], whole: list[str]) -> list[str]:
    """Write the products of a slice, and those of a program that has all channels."""
    return ["if SLICES > 1:", *(f"    {s}" for s in split), "else:", *(f"    {s}" for s in whole)]
