(* The best group size at a fixed number N = Q G of rollouts. N times the variance is V G = G b + o + c / (G - 1): b the
   variance of the gradient between prompts, o and c (sigma_o^2 and Delta of N2) averaged over prompts. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import inequalities.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Size.
Variables (F : realFieldType) (b o c : F).
Hypotheses (b_pos : 0 < b) (c_pos : 0 < c).

(* n.+2 rollouts in a group, so that G >= 2 *)
Definition V n := n.+2%:R * b + o + c / n.+1%:R.

Let n0 n : (n.+1%:R : F) != 0. Proof. by rewrite pnatr_eq0. Qed.
Let n_pos n : (0 : F) < n.+1%:R. Proof. by rewrite ltr0n. Qed.
Let prod_pos n m : (0 : F) < n.+1%:R * m.+1%:R. Proof. exact: mulr_gt0. Qed.

(* N3, variance: Q = N / G prompts, each with the law of N2 *)
Theorem variance_at_fixed_rollouts n N :
  N != 0 -> V n = N * ((b + o / n.+2%:R + c / (n.+2%:R * n.+1%:R)) / (N / n.+2%:R)).
Proof.
move=> N0; rewrite /V; move: (n0 n) (n0 n.+1); move: n.+1%:R n.+2%:R => x y x0 y0.
by field; rewrite x0 y0 N0.
Qed.

Lemma difference n m : V m - V n = (m%:R - n%:R) * (n.+1%:R * m.+1%:R * b - c) / (n.+1%:R * m.+1%:R).
Proof.
have succ k : (k.+1%:R : F) = k%:R + 1 by rewrite -addn1 natrD.
rewrite /V !succ; move: (n0 n) (n0 m); rewrite !succ => n1 m1; field.
by rewrite n1 m1.
Qed.

(* N3, one more rollout *)
Theorem one_more_rollout n : V n <= V n.+1 <-> c <= n.+2%:R * n.+1%:R * b.
Proof.
have one : (n.+1%:R - n%:R : F) = 1 by rewrite -addn1 natrD addrAC subrr add0r.
rewrite -subr_ge0 difference one mul1r pmulr_lge0 ?invr_gt0 ?prod_pos // subr_ge0 [n.+1%:R * _]mulrC.
by split.
Qed.

(* N3, the best size over the integers: the first G from which one more rollout does not help *)
Theorem best_group_size n :
  c <= n.+2%:R * n.+1%:R * b -> (forall k, n = k.+1 -> n.+1%:R * n%:R * b < c) -> forall m, V n <= V m.
Proof.
move=> enough fewer m; rewrite -subr_ge0 difference.
rewrite mulr_ge0 ?invr_ge0 ?(ltW (prod_pos _ _)) //.
case: (ltngtP m n) => [less|more|->]; last by rewrite subrr mul0r.
- rewrite mulr_le0 ?subr_le0 ?ler_nat ?(ltnW less) //.
  case: n fewer less {enough} => // k fewer less; apply: (le_trans _ (ltW (fewer k (erefl _)))).
  by rewrite -!mulrA cancel_left_factor ?ltr0n // cancel_right_factor // ler_nat.
- rewrite mulr_ge0 ?subr_ge0 ?ler_nat ?(ltnW more) //; apply: (le_trans enough).
  by rewrite [n.+2%:R * _]mulrC -!mulrA cancel_left_factor ?ltr0n // cancel_right_factor // ler_nat.
Qed.

(* N3, two against G *)
Theorem two_against_more n : V 0 < V n.+1 <-> c < n.+2%:R * b.
Proof.
rewrite -subr_gt0 difference subr0 mul1r pmulr_lgt0 ?invr_gt0 ?ltr0n // pmulr_rgt0 ?ltr0n // subr_gt0.
by split.
Qed.

(* N3, two as good as any *)
Theorem two_as_good_as_any n : c <= 2%:R * b -> V 0 <= V n.
Proof. by move=> cheap; apply: best_group_size => //; rewrite mulr1. Qed.
End Size.

Section Real.
Variables (F : rcfType) (b o c x : F).
Hypotheses (b_pos : 0 < b) (c_pos : 0 < c) (x_above_one : 1 < x).

Definition at_size y := y * b + o + c / (y - 1).
Definition best := 1 + Num.sqrt (c / b).

(* N3, least over the reals *)
Theorem least_over_the_reals : at_size best <= at_size x.
Proof.
set t := Num.sqrt (c / b); have t_pos : 0 < t by rewrite sqrtr_gt0 divr_gt0.
have c_eq : c = t ^+ 2 * b by rewrite sqr_sqrtr ?ltW ?divr_gt0 // divfK ?lt0r_neq0.
have u_pos : 0 < x - 1 by rewrite subr_gt0.
have u0 := lt0r_neq0 u_pos; have t0 := lt0r_neq0 t_pos.
rewrite -subr_ge0 [X in 0 <= X](_ : _ = b * (x - 1 - t) ^+ 2 / (x - 1)).
  by rewrite divr_ge0 ?(ltW u_pos) // mulr_ge0 ?sqr_ge0 ?(ltW b_pos).
rewrite /at_size /best -/t c_eq (_ : 1 + t - 1 = t); last by ring.
by field; rewrite u0 t0.
Qed.
End Real.
