(* The same with square roots. *)
From mathcomp Require Import all_ssreflect all_algebra ring.
From Gradvar Require Import group_means standardised bridging.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Roots.
Variable F : rcfType.

(* A root with its square factors taken out, as SymPy writes it. *)
Lemma root_in_parts (c x y : F) : 0 <= c -> x = c ^+ 2 * y -> Num.sqrt x = c * Num.sqrt y.
Proof. by move=> c0 ->; rewrite sqrtrM ?sqr_ge0 // sqrtr_sqr ger0_norm. Qed.

Lemma inverse_root_in_parts (c m x y : F) :
  0 < c -> 0 < m -> c ^+ 2 * x = m * y -> Num.sqrt m / Num.sqrt x = c / Num.sqrt y.
Proof.
move=> c0 m0 same.
have root : c * Num.sqrt x = Num.sqrt m * Num.sqrt y.
  by rewrite -[c](ger0_norm (ltW c0)) -sqrtr_sqr -!sqrtrM ?sqr_ge0 ?same // ltW.
case: (eqVneq (Num.sqrt x) 0) => [zero|x0].
  have/eqP: Num.sqrt m * Num.sqrt y = 0 by rewrite -root zero mulr0.
  by rewrite mulf_eq0 gt_eqF ?sqrtr_gt0 //= => /eqP ->; rewrite zero !invr0 !mulr0.
have y0 : Num.sqrt y != 0.
  by apply/eqP => zero; move/eqP: root; rewrite zero mulr0 mulf_eq0 gt_eqF //= (negbTE x0).
by apply: (mulIf x0); apply: (mulIf y0); rewrite divfK // -root mulrAC divfK.
Qed.

Definition squares_listed (r : seq F) :=
  total (indexed (fun _ x => (x - total r / (size r)%:R) ^+ 2) 0 r).

Lemma squares_values n (r : seq F) : size r = n.+2 -> @squares F n (values r) = squares_listed r.
Proof.
move=> r_size; rewrite /squares /squares_listed.
rewrite -[RHS](@sum_listed F n.+2) //; apply: eq_bigr => i _; rewrite /centred /mean r_size.
by congr ((_ - _ / _) ^+ 2); rewrite total_values.
Qed.
End Roots.
