(* A pair of equal rewards is silent. Silent pairs are dropped, and a pair of a new prompt is drawn, until one is not. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Replacement.
(* Prompts x with their chances q; a pair of x is kept with chance k x, its mean update is then u x, else w x. *)
Variables (F : realFieldType) (X : finType) (q k u w : X -> F).
Hypothesis silent_pairs_weigh_nothing : forall x, w x = 0.

Definition one_pair := \sum_x q x * (k x * u x + (1 - k x) * w x).
Definition chance_kept := \sum_x q x * k x.
(* The n-th draw is the first that is kept: all before it were silent. *)
Definition kept_by draws := \sum_(n < draws) (1 - chance_kept) ^+ n * \sum_x q x * (k x * u x).

Hypothesis some_are_kept : 0 < chance_kept <= 1.
Let P0 : chance_kept != 0. Proof. by case/andP: some_are_kept => /lt0r_neq0. Qed.

Lemma only_kept_pairs_count : one_pair = \sum_x q x * (k x * u x).
Proof. by apply: eq_bigr => x _; rewrite silent_pairs_weigh_nothing mulr0 addr0. Qed.

(* A15a, with the number of draws limited: the mean update of the pair that is kept points along the plain one. *)
Theorem limited_replacement_rescales draws :
  kept_by draws = (1 - (1 - chance_kept) ^+ draws) / chance_kept * one_pair.
Proof.
rewrite /kept_by -mulr_suml -only_kept_pairs_count; congr (_ * _).
have geometric := subrX1 (1 - chance_kept) draws.
rewrite [1 - chance_kept - 1]addrAC subrr add0r mulNr in geometric.
by apply: (mulIf P0); rewrite divfK // mulrC -[LHS]opprK -geometric opprB.
Qed.
End Replacement.
