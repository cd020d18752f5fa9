"""The phases of a step forward and back, and the modules that are written of them."""

import re
from dataclasses import dataclass

from plait.kernels.cpu import simd, simd_functions
from plait.kernels.cpu.emit import BLOCK, PACKED, SHARED, Effect, Plan, Stream
from plait.kernels.derivative import Gradient
from plait.kernels.program import Node, Program


def forward_plan(program: Program, gradient: Gradient) -> Plan:
    """Plan the phases of a step forward."""
    P = program.products
    homes = {p.value.value: p.index for p in P if p.value.op == "state"}
    streams = [Stream("input", PACKED, len(program.gates)), Stream("y", PACKED, 1)]
    streams += [Stream(f"history {k}", PACKED, 1) for k in range(1, len(program.states))]
    streams += [Stream("kept", PACKED, len(gradient.kept))]
    streams += [Stream("kept rows", PACKED, len(gradient.kept_rows))]
    streams += [Stream("mask", BLOCK, 1)]
    streams += [Stream(f"vector {n}", SHARED, 1) for n in _parameters(program)]
    streams += [Stream(f"value {p.index}", BLOCK, 1) for p in P]
    streams += [Stream(f"recurrent {p.index}", BLOCK, len(p.gates)) for p in P]
    streams += [
        Stream(f"state {k}", BLOCK, 1) for k in range(len(program.states)) if k not in homes
    ]

    def home(k: int) -> str:
        return f"value {homes[k]}" if k in homes else f"state {k}"

    def loads(node: Node) -> list[tuple[str, int]]:
        match node.op, node.value:
            case "input", int(k):
                return [("input", k)]
            case "vector", (name, int(block)):
                return [(f"vector {name}", block)]
            case "state", int(k):
                return [(home(k), 0)]
            case "product", (int(index), gate):
                return [(f"recurrent {index}", P[index].gates.index(gate))]
            case _:
                return [("mask", 0)]

    effects: list[list[Effect]] = [[] for _ in range(program.stages + 1)]
    for p in P:
        if p.value.op != "state":
            effects[p.stage].append(Effect(f"value {p.index}", 0, p.value))
    for k, node in enumerate(program.new):
        effects[-1].append(Effect(home(k), 0, node, last=True))
        out = Effect(f"history {k}", 0, node, optional=True) if k else Effect("y", 0, node)
        effects[-1].append(out)
    plan = Plan({s.name: s for s in streams}, effects, loads)
    computed = [plan.computed(here, stage) for stage, here in enumerate(effects)]
    for op, kept in (("kept", gradient.kept), ("kept rows", gradient.kept_rows)):
        for k, node in enumerate(kept):  # where it is computed anyway, if it is
            stages = range(node.stage, len(effects))
            stage = next((s for s in stages if node.number in computed[s]), node.stage)
            effects[stage].append(Effect(op, k, node, optional=True))
    return plan


def backward_plan(program: Program, gradient: Gradient) -> Plan:
    """Plan the phases of a step back, and behind them one for each product's value."""
    P, S = program.products, len(program.states)
    pending = [_pending(node) for node in gradient.states]
    streams = [Stream("input", PACKED, len(program.gates)), Stream("y", PACKED, 1)]
    streams += [Stream(f"history {k}", PACKED, 1) for k in range(1, S)]
    streams += [Stream("kept", PACKED, len(gradient.kept))]
    streams += [Stream("kept rows", PACKED, len(gradient.kept_rows))]
    streams += [Stream("mask", BLOCK, 1)]
    streams += [Stream(f"vector {n}", SHARED, 1) for n in _parameters(program)]
    streams += [Stream(f"before {k}", BLOCK, 1) for k in range(S)]
    streams += [Stream("dy", PACKED, 1), Stream("dinput", PACKED, len(program.gates))]
    streams += [Stream("sums", SHARED, len(program.vectors))]
    streams += [Stream(f"value {p.index}", BLOCK, 1) for p in P]
    streams += [Stream(f"dvalue {p.index}", BLOCK, 1) for p in P]
    streams += [
        Stream(f"drecurrent {p.index}", PACKED, len(p.gates))
        for p in P
        if shared_with_inputs(program, gradient, p.index) is None
    ]
    streams += [Stream(f"dstate {k}", BLOCK, 1) for k in range(S) if has_carry(gradient, k)]

    def loads(node: Node) -> list[tuple[str, int]]:
        match node.op, node.value:
            case "input", int(k):
                return [("input", k)]
            case "vector", (name, int(block)):
                return [(f"vector {name}", block)]
            case "state", int(k):
                return [(f"before {k}", 0)]
            case "new", int(k):
                return [(f"history {k}" if k else "y", 0)]
            case "kept", int(k):
                return [("kept", k)]
            case "kept_row", int(k):
                return [("kept rows", k)]
            case "back", int(k):
                return [(f"dvalue {k}", 0)]
            case "grad", int(k):
                parts = [(f"dvalue {i}", 0) for i in pending[k][0]]
                if has_carry(gradient, k):
                    parts.append((f"dstate {k}", 0))
                return parts if k else [*parts, ("dy", 0)]
            case _:
                return [("mask", 0)]

    effects: list[list[Effect]] = [[] for _ in range(program.stages + 1)]
    for k, node in enumerate(gradient.inputs):
        effects[node.stage].append(Effect("dinput", k, node))
    for p in P:
        if f"drecurrent {p.index}" in {s.name for s in streams}:
            for k, gate in enumerate(p.gates):
                stage = program.stages - 1 - p.stage
                node = gradient.recurrent[p.index, gate]
                effects[stage].append(Effect(f"drecurrent {p.index}", k, node))
    for k, v in enumerate(program.vectors):
        node = gradient.vectors[v]
        if node.op != "const":
            effects[node.stage].append(Effect("sums", k, node, adds=True))
    for k in range(S):
        if has_carry(gradient, k):
            rest = pending[k][1]
            rest = program.nodes.const(0) if rest is None else rest
            effects[rest.stage].append(Effect(f"dstate {k}", 0, rest, last=True))
    while len(effects) > 1 and not effects[-1]:
        effects.pop()
    return Plan({s.name: s for s in streams}, effects, loads)


def shared_with_inputs(program: Program, gradient: Gradient, index: int) -> int | None:
    """Return from which gate on the gradient of what a product gave is that of the input side.

    None where it is not, gate by gate and in the same order.
    """
    product = program.products[index]
    first = program.gates.index(product.gates[0])
    here = program.gates[first : first + len(product.gates)]
    same = here == product.gates and all(
        gradient.inputs[first + k] is gradient.recurrent[index, gate]
        for k, gate in enumerate(product.gates)
    )
    # it must be there when the product runs
    stage = program.stages - 1 - product.stage
    return (
        first if same and all(gradient.recurrent[index, g].stage <= stage for g in here) else None
    )


def has_carry(gradient: Gradient, state: int) -> bool:
    """State whether a state's gradient is more than what products bring back to it alone."""
    products, rest = _pending(gradient.states[state])
    others = [n for k, n in enumerate(gradient.states) if k != state]
    return rest is not None or any(set(products) & set(_pending(n)[0]) for n in others)


def pending(gradient: Gradient, state: int) -> list[int]:
    """List the products whose gradients are added to a state's as they come."""
    return _pending(gradient.states[state])[0]


def _pending(node: Node) -> tuple[list[int], Node | None]:
    """Part a sum into what products bring back and the rest."""
    if node.op == "back":
        return [node.value], None
    if node.op == "add":
        for arg, other in (node.args, node.args[::-1]):
            if arg.op == "back":
                products, rest = _pending(other)
                return [arg.value, *products], rest
    return [], node


def _parameters(program: Program) -> list[str]:
    return list(dict.fromkeys(name for name, _ in program.vectors))


HEAD = '''"""{title}

Written by Plait from the cell's equations; a change here is written over.
"""

from numba import float32 as _f
from numba import njit

from plait.kernels.cpu.jit import phases
'''


@dataclass(frozen=True)
class Written:
    """The source of a program, forward and backward, and the streams of the tables."""

    forward: Plan
    backward: Plan
    forward_text: str
    backward_text: str


def write(program: Program, gradient: Gradient, title: str) -> Written:
    """Write the modules of a program."""
    forward = forward_plan(program, gradient)
    backward = backward_plan(program, gradient)
    functions = [f"forward_{k}" for k in range(len(forward.effects))]
    text = [forward.write("forward", program.names), _entry("forward", functions)]
    forward_text = _module(f"{title}, a step forward", text)
    functions = [f"backward_{k}" for k in range(len(backward.effects))]
    text = [backward.write("backward", {})]
    for k, node in enumerate(gradient.values):
        text.append(backward.write_alone(f"value_{k}", Effect(f"value {k}", 0, node)))
        functions.append(f"value_{k}")
    backward_text = _module(f"{title}, a step back", [*text, _entry("backward", functions)])
    return Written(forward, backward, forward_text, backward_text)


def _module(title: str, parts: list[str]) -> str:
    body = "\n\n\n".join(parts)
    called = {"LANES"} | set(re.findall(r"\b([a-z_0-9]+)\(", body))
    imports = ""
    for module, given in ((simd, dir(simd)), (simd_functions, simd_functions.__all__)):
        names = sorted(called.intersection(given))
        if names:
            imports += f"from {module.__name__} import {', '.join(names)}\n"
    return f"{HEAD.format(title=title)}{imports}\n\n{body}\n"


def _entry(name: str, functions: list[str]) -> str:
    lines = [f"@phases\ndef {name}(which, live, at, count):"]
    for k, function in enumerate(functions):
        lines.append(f"    {'if' if k == 0 else 'elif'} which == {k}:")
        lines.append(f"        {function}(live, at, count)")
    return "\n".join(lines)
