"""LaTeX's names and their characters, for ``mathml``: pairs of a command and what it stands for."""

from __future__ import annotations


def _pairs(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


LETTERS = _pairs(
    """
    alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ
    lambda λ mu μ nu ν xi ξ pi π rho ρ sigma σ tau τ phi φ varphi ϕ chi χ psi ψ omega ω Gamma Γ Delta Δ
    Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Phi Φ Psi Ψ Omega Ω ell ℓ infty ∞ partial ∂ nabla ∇ hbar ℏ
    emptyset ∅ varnothing ∅ upsilon υ lVert ‖ rVert ‖ top ⊤ dots … ldots … cdots ⋯ vdots ⋮
    """
)

OPERATORS = _pairs(
    """
    cdot · times × pm ± mp ∓ le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ lt < gt > in ∈ notin ∉ subset ⊂ subseteq ⊆
    cup ∪ cap ∩ to → rightarrow → leftarrow ← mapsto ↦ Rightarrow ⇒ implies ⇒ iff ⇔ Leftrightarrow ⇔
    sim ∼ approx ≈ equiv ≡ propto ∝ parallel ∥ mid ∣ wedge ∧ land ∧ vee ∨ lor ∨ neg ¬ lnot ¬ forall ∀
    exists ∃ ll ≪ gg ≫ circ ∘ langle ⟨ rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉ setminus ∖ ast * star ⋆
    perp ⊥ otimes ⊗ oplus ⊕ odot ⊙ uparrow ↑ downarrow ↓ vert | lvert | rvert | Vert ‖ colon : prime ′
    simeq ≃ div ÷ bullet • nearrow ↗ searrow ↘ succ ≻ prec ≺ not ¬
    """
)
