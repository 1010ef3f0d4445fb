(* The weight w_G(p) that GRPO (population deviation, no epsilon) gives a prompt of success rate p, binary rewards: the
   mean update is w_G(p) times the gradient of p. A group has G = N.+2 rollouts, k of them correct. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum poly ring.
From Gradvar Require Import inequalities group_means.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.Theory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Weight.
Variables (F : rcfType) (N : nat).
Notation G := N.+2.

(* The mean squared deviation of k ones and G - k zeros, and its root. *)
Definition spread k : F := (k%:R * (1 - k%:R / G%:R) ^+ 2 + (G - k)%:R * (0 - k%:R / G%:R) ^+ 2) / G%:R.
Definition sigma k := Num.sqrt (spread k).
Definition advantage (reward : F) k := (reward - k%:R / G%:R) / sigma k.
Definition chance k p : F := 'C(G, k)%:R * p ^+ k * (1 - p) ^+ (G - k).
(* The mean score of a correct rollout is grad p / p, that of a wrong one - grad p / (1 - p). *)
Definition term k p := chance k p * (k%:R * advantage 1 k / p - (G - k)%:R * advantage 0 k / (1 - p)) / G%:R.
Definition weight p := \sum_(1 <= k < G) term k p.

Let G0 : (G%:R : F) != 0. Proof. by rewrite pnatr_eq0. Qed.

Lemma spread_closed k : (k <= G)%N -> spread k = k%:R * (G - k)%:R / G%:R ^+ 2.
Proof.
move=> le; rewrite /spread natrB //; move: G0; move: (G%:R) (k%:R) => x y x0.
by field; rewrite x0.
Qed.

Lemma spread_gt0 k : (0 < k < G)%N -> 0 < spread k.
Proof.
case/andP=> pos below; rewrite spread_closed ?(ltnW below) //.
by rewrite divr_gt0 ?exprn_gt0 ?mulr_gt0 ?ltr0n // subn_gt0.
Qed.

Lemma sigma_sq k : (0 < k < G)%N -> sigma k ^+ 2 = spread k.
Proof. by move=> inside; rewrite sqr_sqrtr // ltW // spread_gt0. Qed.

Lemma sigma_gt0 k : (0 < k < G)%N -> 0 < sigma k.
Proof. by move=> inside; rewrite sqrtr_gt0 spread_gt0. Qed.

(* B6a, term *)
Theorem term_is_chance_times_deviation k p : (0 < k < G)%N -> p != 0 -> 1 - p != 0 ->
  term k p * p * (1 - p) = chance k p * spread k / sigma k.
Proof.
move=> inside p0 q0; have s0 := lt0r_neq0 (sigma_gt0 inside).
case/andP: inside => _ /ltnW le; rewrite /term /advantage spread_closed // natrB //.
move: G0 s0 p0 q0; move: (G%:R) (k%:R) (sigma k) (chance k p) => x y s c x0 s0 p0 q0.
by field; rewrite x0 s0 p0 q0.
Qed.

(* B6a, Bernstein form *)
Theorem binomial_times_spread j : (j <= N)%N ->
  'C(G, j.+1)%:R * spread j.+1 = 'C(N, j)%:R * N.+1%:R / G%:R.
Proof.
move=> le; have inside : (j.+1 <= G)%N by rewrite ltnS leqW.
have first : (G * 'C(N.+1, j) = j.+1 * 'C(G, j.+1))%N := mul_bin_diag G j.
have third : (N.+1 * 'C(N, j) = (N.+1 - j) * 'C(N.+1, j))%N.
  by rewrite mul_bin_down.
rewrite spread_closed // subSS.
have first' := congr1 (fun m : nat => m%:R : F) first; rewrite !natrM in first'.
have third' := congr1 (fun m : nat => m%:R : F) third; rewrite !natrM in third'.
apply: (mulIf G0); rewrite divfK // [RHS]mulrC third'.
apply: (mulIf G0); rewrite -[in RHS]mulrA [_ * G%:R in RHS]mulrC first'.
by move: G0; move: (G%:R) => x x0; field.
Qed.

(* The coefficients of the weight in Bernstein polynomials of degree G - 2. *)
Definition coefficient j : F := N.+1%:R / (G%:R * sigma j.+1).

(* B6a: the factor p (1 - p) cancels, so the weight is a polynomial *)
Theorem weight_is_a_polynomial p : p != 0 -> 1 - p != 0 ->
  weight p = \sum_(j < N.+1) 'C(N, j)%:R * p ^+ j * (1 - p) ^+ (N - j) * coefficient j.
Proof.
move=> p0 q0; rewrite /weight big_add1 /= big_mkord; apply: eq_bigr => j _.
have le : (j <= N)%N by rewrite -ltnS.
have inside : (0 < j.+1 < G)%N by rewrite /= ltnS ltnS.
have s0 := lt0r_neq0 (sigma_gt0 inside).
apply: (mulIf p0); apply: (mulIf q0); rewrite term_is_chance_times_deviation // /chance subSS exprS.
rewrite (subSn le) exprS.
transitivity (('C(G, j.+1)%:R * spread j.+1) * (p * p ^+ j) * ((1 - p) * (1 - p) ^+ (N - j)) / sigma j.+1).
  by ring.
rewrite binomial_times_spread // /coefficient.
move: G0 s0; move: (G%:R) (sigma j.+1) => x s x0 s0.
by field; rewrite x0 s0.
Qed.
End Weight.

Section Constant.
Variables (F : rcfType) (N : nat).
Notation G := N.+2.

Let G0 : (G%:R : F) != 0. Proof. by rewrite pnatr_eq0. Qed.

Lemma coefficient_sq j : (j <= N)%N ->
  coefficient F N j ^+ 2 = N.+1%:R ^+ 2 / (j.+1%:R * (N.+1 - j)%:R).
Proof.
move=> le; have inside : (0 < j.+1 < G)%N by rewrite /= ltnS ltnS.
have le' : (j.+1 <= G)%N by rewrite ltnS leqW.
rewrite /coefficient expr_div_n exprMn sigma_sq // spread_closed // subSS.
by rewrite [G%:R ^+ 2 * _]mulrC divfK // expf_neq0.
Qed.

(* B7a, ends: the first and the last Bernstein coefficient, which are the limits for p -> 0 and p -> 1 *)
Theorem weight_at_the_ends_is_root :
  coefficient F N 0 = Num.sqrt N.+1%:R /\ coefficient F N N = Num.sqrt N.+1%:R.
Proof.
have N0 : (N.+1%:R : F) != 0 by rewrite pnatr_eq0.
have positive j : 0 <= coefficient F N j by rewrite divr_ge0 ?mulr_ge0 ?ler0n ?sqrtr_ge0.
have root j : coefficient F N j ^+ 2 = N.+1%:R -> coefficient F N j = Num.sqrt N.+1%:R.
  by move=> <-; rewrite sqrtr_sqr ger0_norm.
split; apply: root; rewrite coefficient_sq // ?subn0 ?subSnn ?mul1r ?mulr1 expr2 mulfK //.
Qed.

(* B7a, values at the ends: the polynomial that the weight is, at p = 0 and at p = 1 *)
Theorem polynomial_at_the_ends_is_root (p : F) : p = 0 \/ p = 1 ->
  \sum_(j < N.+1) 'C(N, j)%:R * p ^+ j * (1 - p) ^+ (N - j) * coefficient F N j = Num.sqrt N.+1%:R.
Proof.
have [first last] := weight_at_the_ends_is_root; case=> ->.
  rewrite subr0 big_ord_recl big1 => [|j _]; last by rewrite expr0n /= mulr0 !mul0r.
  by rewrite bin0 expr0 expr1n !mul1r addr0.
rewrite subrr big_ord_recr big1 => [|j _] /=; last by rewrite expr0n subn_eq0 leqNgt ltn_ord /= mulr0 mul0r.
by rewrite binn expr1n subnn expr0 !mul1r add0r.
Qed.

(* With x = p / (1 - p) a weight that is constant is a polynomial in x with all its values zero. *)
Lemma equal_values_give_equal_coefficients (c : nat -> F) K :
  (forall p : F, 0 < p < 1 -> \sum_(j < N.+1) 'C(N, j)%:R * p ^+ j * (1 - p) ^+ (N - j) * c j = K) ->
  forall j, (j <= N)%N -> c j = K.
Proof.
move=> constant j le.
pose P : {poly F} := \poly_(i < N.+1) ('C(N, i)%:R * (c i - K)).
have binomial (p : F) : \sum_(i < N.+1) 'C(N, i)%:R * p ^+ i * (1 - p) ^+ (N - i) = 1.
  rewrite -[RHS](expr1n _ N) -[X in _ = X ^+ _](subrK p 1) exprDn.
  by apply: eq_bigr => i _; rewrite -[RHS]mulr_natl -mulrA [p ^+ i * _]mulrC.
have root_at (m : nat) : root P m.+1%:R.
  pose q : F := m.+2%:R^-1; pose p : F := m.+1%:R / m.+2%:R.
  have m0 : (m.+2%:R : F) != 0 by rewrite pnatr_eq0.
  have q_def : 1 - p = q.
    apply: (mulIf m0); rewrite mulrBl mul1r /p /q divfK // mulVf //.
    by rewrite -[m.+2]addn1 natrD addrAC subrr add0r.
  have inside : 0 < p < 1.
    by rewrite divr_gt0 ?ltr0n //= quotient_strictly_below ?ltr0n // mul1r ltr_nat.
  have zero : \sum_(i < N.+1) 'C(N, i)%:R * p ^+ i * (1 - p) ^+ (N - i) * (c i - K) = 0.
    under eq_bigr do rewrite mulrBr.
    by rewrite sumrB constant // -mulr_suml binomial mul1r subrr.
  have q0 : q ^+ N != 0 by rewrite expf_neq0 // invr_eq0.
  apply/rootP; apply: (mulfI q0); rewrite mulr0 -zero horner_poly mulr_sumr.
  apply: eq_bigr => i _; rewrite q_def.
  have le_i : (i <= N)%N by rewrite -ltnS.
  have -> : p = m.+1%:R * q by [].
  rewrite -[X in q ^+ X](subnK le_i) exprD exprMn.
  move: (q ^+ (N - i)) (q ^+ i) (m.+1%:R ^+ i : F) ('C(N, i)%:R : F) (c i - K) => x y z u w; ring.
have P0 : P = 0.
  apply: (@roots_geq_poly_eq0 F P [seq m.+1%:R | m <- iota 0 N.+1]).
  - by apply/allP => x /mapP[m _ ->].
  - rewrite map_inj_uniq ?iota_uniq // => x y /eqP; rewrite eqr_nat => /eqP; exact: succn_inj.
  - by rewrite size_map size_iota size_poly.
have := coef_poly N.+1 (fun i => 'C(N, i)%:R * (c i - K)) j.
rewrite -/P P0 coef0 ltnS le => /esym/eqP; rewrite mulf_eq0 pnatr_eq0 -leqn0 leqNgt bin_gt0 le /=.
by rewrite subr_eq0 => /eqP.
Qed.

(* B6b, not constant: from four rollouts on the weight of some two prompts differs *)
Theorem weight_is_not_constant_from_four_on : (2 <= N)%N ->
  ~ exists K, forall p : F, 0 < p < 1 -> weight N p = K.
Proof.
move=> large [K constant].
have all_equal : forall j, (j <= N)%N -> coefficient F N j = K.
  apply: equal_values_give_equal_coefficients => p inside; rewrite -(constant p inside).
  case/andP: inside => p_gt0 p_lt1; rewrite weight_is_a_polynomial ?lt0r_neq0 ?subr_gt0 //.
have squares : coefficient F N 0 ^+ 2 = coefficient F N 1 ^+ 2 by rewrite !all_equal // ltnW.
move: squares; rewrite (coefficient_sq (leq0n N)) (coefficient_sq (ltnW large)) subSS !subn0 mul1r.
have N0 : (N%:R : F) != 0 by rewrite pnatr_eq0 -lt0n (ltnW large).
have N1 : (N.+1%:R : F) != 0 by rewrite pnatr_eq0.
move/(mulfI (expf_neq0 2 N1))/invr_inj => same.
have : (N.+1 == 2 * N)%N by rewrite -(eqr_nat F) natrM -same.
by rewrite mul2n -addnn -addn1 eqn_add2l => /eqP one; move: large; rewrite -one.
Qed.

(* B6b, constant: with two or three rollouts all prompts have one weight *)
Theorem weight_is_constant_below_four : (N <= 1)%N ->
  exists K, forall p : F, 0 < p < 1 -> weight N p = K.
Proof.
move=> small; exists (coefficient F N 0) => p /andP[p_gt0 p_lt1].
rewrite weight_is_a_polynomial ?lt0r_neq0 ?subr_gt0 //.
case: N small => [|[|//]] _.
  by rewrite big_ord_recl big_ord0 addr0 /= bin0 expr0 !mulr1 mul1r.
rewrite !big_ord_recl big_ord0 addr0 /= -[bump 0 0]/1%N subnn subn0 bin0 bin1 !mulr1n !expr0 !expr1 !mulr1 !mul1r.
have -> : coefficient F 1 1 = coefficient F 1 0.
  rewrite /coefficient /sigma; congr (_ / (_ * Num.sqrt _)).
  by rewrite (@spread_closed F 1 2) // (@spread_closed F 1 1) //; congr (_ / _); exact: mulrC.
by rewrite -mulrDl subrK mul1r.
Qed.

(* B6b: the weight is constant in p exactly with two and with three rollouts *)
Theorem weight_is_constant_iff_two_or_three :
  (exists K, forall p : F, 0 < p < 1 -> weight N p = K) <-> G = 2%N \/ G = 3%N.
Proof.
split=> [constant|sizes].
  case: (leqP 2 N) => [large|]; first by case: (weight_is_not_constant_from_four_on large).
  by case: N => [|[|//]] _; [left | right].
by apply: weight_is_constant_below_four; case: sizes => -[->].
Qed.
End Constant.

(* B6b, the constants: one with two rollouts, the root of two with three *)
Theorem weight_of_two_and_of_three (F : rcfType) (p : F) : p != 0 -> 1 - p != 0 ->
  weight 0 p = 1 /\ weight 1 p = Num.sqrt 2%:R.
Proof.
move=> p0 q0; rewrite !weight_is_a_polynomial //.
have [one _] := weight_at_the_ends_is_root F 0; have [first second] := weight_at_the_ends_is_root F 1.
rewrite !big_ord_recl !big_ord0 /= one first second sqrtr1 !subn0 subnn bin0 bin1 !expr0 !expr1 !mulr1 !mul1r !addr0.
by split; last rewrite -mulrDl subrK mul1r.
Qed.
