(* Inequalities between products, quotients and sums, under names of their own: MathComp 2 calls its lemmas otherwise
   than MathComp 1 does, and the proofs here are for both. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Inequalities.
Variable F : numFieldType.
Implicit Types x y z : F.

Lemma below_quotient x y z : 0 < z -> (x <= y / z) = (x * z <= y).
Proof. by move=> z0; rewrite -[LHS]subr_ge0 -[LHS](pmulr_lge0 _ z0) mulrBl divfK ?subr_ge0 // lt0r_neq0. Qed.

Lemma strictly_below_quotient x y z : 0 < z -> (x < y / z) = (x * z < y).
Proof. by move=> z0; rewrite -[LHS]subr_gt0 -[LHS](pmulr_lgt0 _ z0) mulrBl divfK ?subr_gt0 // lt0r_neq0. Qed.

Lemma quotient_below x y z : 0 < z -> (y / z <= x) = (y <= x * z).
Proof. by move=> z0; rewrite -[LHS]subr_ge0 -[LHS](pmulr_lge0 _ z0) mulrBl divfK ?subr_ge0 // lt0r_neq0. Qed.

Lemma quotient_strictly_below x y z : 0 < z -> (y / z < x) = (y < x * z).
Proof. by move=> z0; rewrite -[LHS]subr_gt0 -[LHS](pmulr_lgt0 _ z0) mulrBl divfK ?subr_gt0 // lt0r_neq0. Qed.

Lemma cancel_left_factor x y z : 0 < z -> (z * x <= z * y) = (x <= y).
Proof. by move=> z0; rewrite -[LHS]subr_ge0 -mulrBr pmulr_rge0 // subr_ge0. Qed.

Lemma cancel_right_factor x y z : 0 < z -> (x * z <= y * z) = (x <= y).
Proof. by move=> z0; rewrite -[LHS]subr_ge0 -mulrBl pmulr_lge0 // subr_ge0. Qed.

Lemma cancel_left_summand x y z : (z + x <= z + y) = (x <= y).
Proof. by rewrite -[LHS]subr_ge0 opprD addrACA subrr add0r subr_ge0. Qed.

Lemma below_with_more x y z : 0 <= x -> y <= z -> y <= z + x.
Proof. by move=> x0 le; rewrite -subr_ge0 addrAC addr_ge0 // subr_ge0. Qed.

Lemma strictly_below_with_more x y z : 0 <= x -> y < z -> y < z + x.
Proof. by move=> x0 lt; apply: (lt_le_trans lt); exact: below_with_more. Qed.

Lemma below_multiple x y : 0 <= y -> 1 <= x -> y <= x * y.
Proof. by move=> y0 x1; rewrite -subr_ge0 -{2}[y]mul1r -mulrBl mulr_ge0 // subr_ge0. Qed.
End Inequalities.

Section Extrema.
Variable F : realFieldType.
Implicit Types x y z : F.

Lemma min_times_positive x y z : 0 < x -> Num.min y z * x = Num.min (y * x) (z * x).
Proof.
move=> x0; case: (leP y z) => [le|lt]; first by rewrite min_l // cancel_right_factor.
by rewrite min_r // cancel_right_factor // ltW.
Qed.

Lemma max_times_negative x y z : x < 0 -> Num.max y z * x = Num.min (y * x) (z * x).
Proof.
move=> x0; have turned u v : u <= v -> v * x <= u * x.
  by move=> le; rewrite -subr_ge0 -mulrBl nmulr_lge0 // subr_le0.
case: (leP y z) => [le|lt]; first by rewrite min_r // turned.
by rewrite min_l // turned // ltW.
Qed.
End Extrema.
