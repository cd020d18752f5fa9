"""A program written down as kernels for Triton: phases, and phases with the products next to them.

Products stand between the phases (`emit_phase`). A library makes them, or, of the terms of a graph,
a kernel: forward that of the phase that follows, on the way back that of the phase before.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Self

from plait.kernels.cpu import plans
from plait.kernels.cpu.emit import PACKED, Effect, Plan, Stream
from plait.kernels.derivative import Gradient, differentiate
from plait.kernels.gpu.emit_phase import Phase, Writer
from plait.kernels.gpu.expressions import module
from plait.kernels.program import Node, Product, Program

ROUNDED = '''
@triton.jit
def rounded(x, ROUND: tl.constexpr):
    """Round the operand of a product to a shorter type, in which TF32 multiplies exactly."""
    if ROUND is not None:
        x = x.to(ROUND).to(tl.float32)
    return x
'''.strip()


@lru_cache(512)
def _written(kind: type, key: str) -> list[Any]:
    return []


class WrittenProgram:
    """A program, its gradient, and the kernels of their phases.

    Parameters
    ----------
    program : Program
    title : str
    """

    @classmethod
    def of(cls, program: Program) -> Self:
        """Return the kernels of a program, written once in a process."""
        known = _written(cls, program.key)
        if not known:
            known.append(cls(program, f"A cell of gates {', '.join(program.gates)}"))
        return known[0]

    def __init__(self, program: Program, title: str) -> None:
        self.program = program
        self.gradient: Gradient = differentiate(program)
        # where a state is the value of a product, they are one array
        self.homes = {p.value.value: p.index for p in program.products if p.value.op == "state"}
        self.forward_plan = plans.forward_plan(program, self.gradient)
        self.backward_plan = _backward_plan(program, self.gradient)
        self.after = self._summed_after()
        self._keep_values()
        self.forward_plan.carry()
        self.backward_plan.carry()
        self.source = self.write(title)

    def write(self, title: str) -> str:
        """Write the kernels, and return the module that holds them."""
        calls = self.program.names
        self.forward = _phases(self.forward_plan, "forward", calls)
        self.backward = _phases(self.backward_plan, "backward", {})
        stages = range(1, len(self.forward_plan.effects))
        self.gates = [None, *(self._gates(stage) for stage in stages)]
        self.back = [self._back(stage) for stage in range(self.program.stages)]
        written = [*self.forward, *self.gates, *self.backward, *self.back]
        return module(title, [ROUNDED, *(p.text for p in written if p is not None)])

    def _gates(self, stage: int) -> Phase | None:
        """Write a phase with the products before it: of all terms, for all gates."""
        products = [p for p in self.program.products if p.stage == stage - 1]
        if not products:
            return None
        at_hand = {
            (f"recurrent {p.index}", g): f"product_{p.index}_{g}"
            for p in products
            for g in range(len(p.gates))
        }
        effects, calls = self.forward_plan.effects[stage], self.program.names
        name = f"gates_{stage}"
        writer = Writer(self.forward_plan, name, stage, effects, calls, at_hand)
        lines = [line for p in products for line in self._terms(p, writer)]
        return writer.phase_with(lines, [], "IDENTITY", "SHIFTED")

    def _terms(self, p: Product, writer: "Writer") -> list[str]:
        """Write Σ_m x_m W_m for every gate; the first term may be the value itself."""
        values, terms = writer.use(self.source_of_value(p)), writer.use(f"terms {p.index}")
        weights, width = writer.use(f"weights {p.index}"), len(p.gates)
        names = [f"product_{p.index}_{g}" for g in range(width)]
        inner = [
            "k = first + tl.arange(0, BK)",
            "x = tl.load(source + row * H + k[None, :], mask=(row < rows) & (k[None, :] < H), "
            "other=0.0)",
            "x = rounded(x, ROUND)",
        ]
        for g, name in enumerate(names):
            inner += [
                f"u = tl.load(own + k[:, None] * ({width} * H) + {g} * H + col, "
                "mask=(k[:, None] < H) & (col < H), other=0.0)",
                f"{name} = tl.dot(x, rounded(u, ROUND), {name}, input_precision=PRECISION)",
            ]
        lines = [f"{name} = tl.zeros([BR, BH], tl.float32)" for name in names]
        lines += [
            "if IDENTITY:",
            f"    source, own = {values} + tl.cast(t, tl.int64) * rows * H, {weights}",
            "    for first in range(0, H, BK):",
            *(f"        {line}" for line in inner),
            "for m in range(0, SHIFTED):",
            f"    source = {terms} + tl.cast(m, tl.int64) * rows * H",
            f"    own = {weights} + (m + IDENTITY) * H * ({width} * H)",
            "    for first in range(0, H, BK):",
            *(f"        {line}" for line in inner),
        ]
        return lines + self.kept_for_later(p, writer.use)

    def _back(self, stage: int) -> Phase | None:
        """Write a phase of the way back, and what its gradients bring back to all terms.

        A program has all channels of its rows: it stores the gradients of the gates, and reads them
        again as the left side of a product.
        """
        products = [p for p in self.program.products if self.program.stages - 1 - p.stage == stage]
        if not products:
            return None
        plan = self.backward_plan
        effects = plan.effects[stage] if stage < len(plan.effects) else []
        writer = Writer(plan, f"backward_{stage}_terms", stage, effects, {})
        lines = [line for p in products for line in self._terms_back(p, writer)]
        return writer.phase_with([], ["tl.debug_barrier()", *lines], "TERMS")

    def _terms_back(self, p: Product, writer: "Writer") -> list[str]:
        """Write Σ_g da_g W_mgᵀ for every term m; the gates of a product lie side by side."""
        stream, first = self.source_of(p.index)
        width = self.backward_plan.streams[stream].width
        grads, weights = writer.use(stream), writer.use(f"weights back {p.index}")
        terms, inner = writer.use(f"terms back {p.index}"), f"{len(p.gates)} * H"
        return [
            f"grads = {grads} + at * ({width} * H) + {first} * H",
            "for m in range(0, TERMS):",
            f"    own = {weights} + m * ({inner} * H)",
            "    total = tl.zeros([BR, BH], tl.float32)",
            f"    for first in range(0, {inner}, BK):",
            "        k = first + tl.arange(0, BK)",
            f"        some = (row < rows) & (k[None, :] < {inner})",
            '        g = tl.load(grads + k[None, :], mask=some, other=0.0, cache_modifier=".cg")',
            f"        some = (k[:, None] < {inner}) & inside",
            "        u = tl.load(own + k[:, None] * H + col, mask=some, other=0.0)",
            "        total = tl.dot(rounded(g, ROUND), rounded(u, ROUND), total, "
            "input_precision=PRECISION)",
            f"    place = {terms} + (tl.cast(m, tl.int64) * rows + row) * H + col",
            "    tl.store(place, total, mask=here)",
        ]

    def kept_for_later(self, p: Product, use: Callable[[str], str]) -> list[str]:
        """Write the stores of what gates got that a phase after the next one reads."""
        plan, lines = self.forward_plan, []
        for g, gate in enumerate(p.gates):
            later = (
                node.op == "product" and node.value == (p.index, gate)
                for stage in range(p.stage + 2, len(plan.effects))
                for node in plan.ancestors(plan.effects[stage], stage)
            )
            if any(later):
                place = (
                    f"{use(f'recurrent {p.index}')} + row * ({len(p.gates)} * H) + {g} * H + col"
                )
                lines.append(f"tl.store({place}, product_{p.index}_{g}, mask=here)")
        return lines

    def exchanged(self) -> set[int]:
        """Return the states that products read as they are, so that their past is kept."""
        return {p.value.value for p in self.program.products if p.value.op == "state"}

    def source_of_value(self, p: Product) -> str:
        """Return the stream whose entry of a step is a product's value there."""
        if p.value.op != "state":
            return f"value {p.index}"
        return f"history {p.value.value}" if p.value.value else "y"

    def _keep_values(self) -> None:
        """Assign what products read a place of its own at each step, written in any case.

        Other programs may still read it when a program goes on to the next step, and the gradient
        of the weights reads it again.
        """
        for p in self.program.products:
            if p.value.op != "state":
                for plan in (self.forward_plan, self.backward_plan):
                    plan.streams[f"value {p.index}"] = Stream(f"value {p.index}", PACKED, 1)
        names = {f"history {k}" for k in self.exchanged()}
        for effects in self.forward_plan.effects:
            effects[:] = [
                Effect(e.stream, e.block, e.node) if e.stream in names else e for e in effects
            ]

    @property
    def whole_rows(self) -> bool:
        """Whether a phase wants statistics of a row, and so all channels of it at once."""
        plans_ = (self.forward_plan, self.backward_plan)
        return any(
            n.op == "rowsum"
            for plan in plans_
            for stage, effects in enumerate(plan.effects)
            for n in plan.ancestors(effects, stage)
        )

    @property
    def histories(self) -> list[bool]:
        """Of every state, whether the gradient wants its past; the first is the outputs."""
        leaves = self.gradient.leaves
        return [
            k == 0 or bool({("state", k), ("new", k)} & leaves)
            for k in range(len(self.program.states))
        ]

    def source_of(self, index: int) -> tuple[str, int]:
        """Return which stream holds the gradient of what a product gave, and from which gate on."""
        shared = plans.shared_with_inputs(self.program, self.gradient, index)
        return (f"drecurrent {index}", 0) if shared is None else ("dinput", shared)

    def _summed_after(self) -> dict[tuple[str, int], int]:
        """Take the vectors whose gradient is a gate's, summed: which gate's it is.

        They are summed over all steps at once; the phases are left with the others.
        """
        found: dict[tuple[str, int], int] = {}
        for v, node in self.gradient.vectors.items():
            for k, other in enumerate(self.gradient.inputs):
                if node is other and node.op != "const":
                    found[v] = k
        order = list(self.program.vectors)
        for effects in self.backward_plan.effects:
            effects[:] = [e for e in effects if e.stream != "sums" or order[e.block] not in found]
        return found


def _backward_plan(program: Program, gradient: Gradient) -> Plan:
    """Plan a step back in which every state has room for a gradient that waits."""
    plan = plans.backward_plan(program, gradient)
    bare = [k for k in range(len(program.states)) if not plans.has_carry(gradient, k)]
    known = plan.loads
    for k in bare:
        plan.streams[f"dstate {k}"] = Stream(f"dstate {k}", "block", 1)
        zero = program.nodes.const(0)
        plan.effects[0].append(Effect(f"dstate {k}", 0, zero, last=True))

    def loads(node: Node) -> list[tuple[str, int]]:
        more = [(f"dstate {node.value}", 0)] if node.op == "grad" and node.value in bare else []
        return [*known(node), *more]

    plan.loads = loads
    return plan


def _phases(plan: Plan, name: str, calls: Mapping[int, str]) -> list[Phase | None]:
    return [
        Writer(plan, f"{name}_{k}", k, effects, calls).phase() if effects else None
        for k, effects in enumerate(plan.effects)
    ]
