(* The variance of leave-one-out at every group size, on policy, for any rewards; one entry of the score. *)
From mathcomp Require Import all_ssreflect ssralg ssrnum ring.
From Gradvar Require Import group_means independence unbiased projection.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Variance.
Variables (F : numFieldType) (n : nat) (T : finType) (p r s : T -> F).
Notation G := n.+2.
Hypothesis chances_sum_to_one : \sum_y p y = 1.
Hypothesis score_mean_zero : \sum_y p y * s y = 0.
Notation mean_over_groups := (E (fun _ : 'I_G => p)).
Let J := \sum_y p y * r y.
Let g := \sum_y p y * (r y * s y).
Definition surplus y := r y - J.
Notation c := surplus.
Notation group := {ffun 'I_G -> T}.

(* sigma_o^2, the variance of (r - J) s; Delta, Var(r) E s^2 + g^2 *)
Definition oracle := \sum_y p y * (c y * s y) ^+ 2 - g ^+ 2.
Definition price := (\sum_y p y * c y ^+ 2) * (\sum_y p y * s y ^+ 2) + g ^+ 2.
Definition update (f : group) := rloo (fun i => r (f i)) (fun i => s (f i)).
Definition variance := mean_over_groups (fun f => update f ^+ 2) - (mean_over_groups update) ^+ 2.

Let one_at (i : 'I_G) : \sum_y p y = 1. Proof. exact: chances_sum_to_one. Qed.
Let G0 : (G%:R : F) != 0. Proof. by rewrite pnatr_eq0. Qed.
Let n0 : (n.+1%:R : F) != 0. Proof. by rewrite pnatr_eq0. Qed.
Let c_mean : \sum_y p y * c y = 0.
Proof. by rewrite /surplus; under eq_bigr do rewrite mulrBr; rewrite sumrB -mulr_suml chances_sum_to_one mul1r subrr. Qed.
Let cs_mean : \sum_y p y * (c y * s y) = g.
Proof.
rewrite /surplus; under eq_bigr do rewrite mulrBl mulrBr [p _ * (J * _)]mulrCA.
by rewrite sumrB -mulr_sumr score_mean_zero mulr0 subr0.
Qed.

(* With c in place of r the estimate is the same: a part of single rollouts, and one of ordered pairs. *)
Let diagonal (f : group) := \sum_i c (f i) * s (f i).
Let crossed (f : group) := \sum_i \sum_(j | j != i) c (f j) * s (f i).

Lemma update_in_parts f : update f = G%:R^-1 * diagonal f + (- (G%:R * n.+1%:R)^-1) * crossed f.
Proof.
have same i : leave_one_out (fun i => r (f i)) i = leave_one_out (fun i => c (f i)) i.
  rewrite /leave_one_out /surplus sumrB sumr_const cardC1 card_ord -[J *+ _]mulr_natl /=.
  by move: n0; move: n.+1%:R (\sum_(_ | _) _) => a x a0; field; rewrite a0.
rewrite /update /rloo /estimate.
have row i : leave_one_out (fun i => r (f i)) i * s (f i)
   = c (f i) * s (f i) - (n.+1%:R)^-1 * \sum_(j | j != i) c (f j) * s (f i).
  by rewrite same /leave_one_out mulrBl -mulr_suml; congr (_ - _); rewrite mulrAC mulrC.
under eq_bigr do rewrite row.
rewrite sumrB -mulr_sumr -/(diagonal f) -/(crossed f).
by move: G0 n0; move: G%:R n.+1%:R (diagonal f) (crossed f) => a b x y a0 b0; field; rewrite a0 b0.
Qed.

Let E_diagonal2 : mean_over_groups (fun f => diagonal f ^+ 2) = G%:R * (\sum_y p y * (c y * s y) ^+ 2) + G%:R * n.+1%:R * g ^+ 2.
Proof.
transitivity (mean_over_groups (fun f => \sum_i \sum_j (c (f i) * s (f i)) * (c (f j) * s (f j)))).
  by apply: E_ext => f; rewrite expr2 mulr_suml; apply: eq_bigr => i _; rewrite mulr_sumr.
rewrite E_sum (eq_bigr (fun=> \sum_y p y * (c y * s y) ^+ 2 + n.+1%:R * g ^+ 2)) => [|i _].
  by rewrite sumr_const card_ord -[LHS]mulr_natl mulrDr mulrA.
rewrite E_sum (bigD1 i) //=; congr (_ + _).
  by rewrite (E_one one_at i (fun y => (c y * s y) * (c y * s y))); apply: eq_bigr => y _; rewrite expr2.
rewrite (eq_bigr (fun=> g ^+ 2)) => [|j different]; first by rewrite sumr_const cardC1 card_ord mulr_natl.
rewrite (E_two one_at (fun y => c y * s y) (fun y => c y * s y)) 1?eq_sym //.
by rewrite /mean_of cs_mean expr2.
Qed.

Let E_mixed : mean_over_groups (fun f => diagonal f * crossed f) = 0.
Proof.
transitivity (mean_over_groups (fun f =>
    \sum_k \sum_i \sum_(j | j != i) (c (f k) * s (f k)) * (c (f j) * s (f i)))).
  apply: E_ext => f; rewrite mulr_suml; apply: eq_bigr => k _; rewrite mulr_sumr; apply: eq_bigr => i _.
  by rewrite mulr_sumr.
rewrite E_sum big1 // => k _; rewrite E_sum big1 // => i _; rewrite E_sum big1 // => j ji.
case: (altP (j =P k)) => [jk|jk].
  transitivity (mean_over_groups (fun f => s (f i) * (c (f k) * s (f k) * c (f k)))).
    by apply: E_ext => f; rewrite jk; ring.
  rewrite (E_two one_at s (fun y => c y * s y * c y)) ?/mean_of ?score_mean_zero ?mul0r //.
  by rewrite -jk eq_sym.
transitivity (mean_over_groups (fun f => c (f j) * s (f i) * c (f k) * s (f k))).
  by apply: E_ext => f; ring.
exact: (E_four_alone s c s ji jk jk c_mean).
Qed.

Let E_crossed2 : mean_over_groups (fun f => crossed f ^+ 2) = G%:R * n.+1%:R * price.
Proof.
transitivity (mean_over_groups (fun f =>
    \sum_i \sum_(j | j != i) \sum_k \sum_(l | l != k) (c (f j) * s (f i)) * (c (f l) * s (f k)))).
  apply: E_ext => f; rewrite expr2 mulr_suml; apply: eq_bigr => i _; rewrite mulr_suml; apply: eq_bigr => j _.
  by rewrite mulr_sumr; apply: eq_bigr => k _; rewrite mulr_sumr.
rewrite E_sum (eq_bigr (fun=> n.+1%:R * price)) => [|i _]; last first.
  rewrite E_sum (eq_bigr (fun=> price)) => [|j ji]; first by rewrite sumr_const cardC1 card_ord mulr_natl.
  have ij : i != j by rewrite eq_sym.
  rewrite E_sum (bigD1 i) //= (bigD1 j) //= [X in _ + (_ + X)]big1 ?addr0; last first.
    move=> k /andP[ki kj]; rewrite E_sum big1 // => l lk.
    transitivity (mean_over_groups (fun f => s (f k) * c (f j) * s (f i) * c (f l))).
      by apply: E_ext => f; ring.
    have kl : k != l by rewrite eq_sym.
    exact: (E_four_alone c s c kj ki kl score_mean_zero).
  rewrite !E_sum (bigD1 j) //= [X in _ + X + _]big1 ?addr0; last first.
    move=> l /andP[li lj].
    transitivity (mean_over_groups (fun f => c (f l) * c (f j) * s (f i) * s (f i))).
      by apply: E_ext => f; ring.
    exact: (E_four_alone c s s lj li li c_mean).
  rewrite (bigD1 i) //= [X in _ + (_ + X)]big1 ?addr0; last first.
    move=> l /andP[lj li].
    transitivity (mean_over_groups (fun f => c (f l) * c (f j) * s (f i) * s (f j))).
      by apply: E_ext => f; ring.
    exact: (E_four_alone c s s lj li lj c_mean).
  rewrite /price; congr (_ + _).
    transitivity (mean_over_groups (fun f => c (f j) ^+ 2 * s (f i) ^+ 2)).
      by apply: E_ext => f; ring.
    exact: (E_two one_at (fun y => c y ^+ 2) (fun y => s y ^+ 2) ji).
  transitivity (mean_over_groups (fun f => (c (f j) * s (f j)) * (c (f i) * s (f i)))).
    by apply: E_ext => f; ring.
  by rewrite (E_two one_at (fun y => c y * s y) (fun y => c y * s y) ji) /mean_of cs_mean expr2.
by rewrite sumr_const card_ord -[LHS]mulr_natl mulrA.
Qed.

(* N2, law *)
Theorem variance_of_leave_one_out : variance = oracle / G%:R + price / (G%:R * n.+1%:R).
Proof.
have mean_update : mean_over_groups update = g by exact: leave_one_out_is_unbiased.
rewrite /variance mean_update.
pose a := (G%:R : F)^-1; pose b := (- (G%:R * n.+1%:R)^-1 : F).
transitivity (mean_over_groups (fun f =>
    a ^+ 2 * diagonal f ^+ 2 + (2%:R * a * b * (diagonal f * crossed f) + b ^+ 2 * crossed f ^+ 2)) - g ^+ 2).
  by congr (_ - _); apply: E_ext => f; rewrite update_in_parts -/a -/b; ring.
rewrite !E_add !E_scale E_diagonal2 E_mixed E_crossed2 mulr0 add0r /oracle /a /b.
have succ : (G%:R : F) = 1 + n.+1%:R := natr_succ _ _.
move: G0 n0; rewrite succ; move: n.+1%:R (\sum_y _) price => x Q P x1 x0.
by field; rewrite x1 x0.
Qed.

(* zeta_1, the variance of the pair kernel given one rollout *)
Definition zeta1 := \sum_y p y * (\sum_z p z * pair_kernel r s y z) ^+ 2 - g ^+ 2.

(* N2, kernels, the first *)
Theorem four_zeta1_is_the_oracle : 4%:R * zeta1 = oracle.
Proof.
have two0 : (2%:R : F) != 0 by rewrite pnatr_eq0.
have half y : \sum_z p z * pair_kernel r s y z = (c y * s y + g) / 2%:R.
  apply: (mulfI two0); rewrite -/(twice_projected p r s y) mulrC divfK //.
  by rewrite (projection_has_the_gradient r chances_sum_to_one score_mean_zero) mulrC.
rewrite /zeta1; under eq_bigr do rewrite half.
have expand y : p y * ((c y * s y + g) / 2%:R) ^+ 2
   = (p y * (c y * s y) ^+ 2 + 2%:R * g * (p y * (c y * s y)) + g ^+ 2 * p y) / 4%:R by field.
under eq_bigr do rewrite expand.
rewrite -mulr_suml !big_split /= -!mulr_sumr cs_mean chances_sum_to_one /oracle.
rewrite -[X in X + _ + _]/(\sum_y p y * (c y * s y) ^+ 2).
by move: (\sum_y _) => Q; field.
Qed.

(* zeta_2, the variance of the pair kernel *)
Definition zeta2 := \sum_y p y * (\sum_z p z * pair_kernel r s y z ^+ 2) - g ^+ 2.

(* N2, kernels, the second *)
Theorem two_zeta2_is_oracle_and_price : 2%:R * zeta2 = oracle + price.
Proof.
pose U := \sum_z p z * (c z * s z ^+ 2); pose W := \sum_z p z * (c z ^+ 2 * s z).
pose Q := \sum_z p z * (c z * s z) ^+ 2; pose C := \sum_z p z * c z ^+ 2; pose S := \sum_z p z * s z ^+ 2.
have row y : \sum_z p z * pair_kernel r s y z ^+ 2
   = ((c y * s y) ^+ 2 + c y ^+ 2 * S + 4%:R * (c y * s y) * g + s y ^+ 2 * C + Q
      - 2%:R * c y * U - 2%:R * s y * W) / 4%:R.
  have expand z : p z * pair_kernel r s y z ^+ 2
     = ((c y * s y) ^+ 2 * p z + c y ^+ 2 * (p z * s z ^+ 2) + 4%:R * (c y * s y) * (p z * (c z * s z))
        + s y ^+ 2 * (p z * c z ^+ 2) + p z * (c z * s z) ^+ 2
        + (- (2%:R * c y)) * (p z * (c z * s z ^+ 2)) + (- (2%:R * s y)) * (p z * (c z ^+ 2 * s z))
        + (- (2%:R * c y ^+ 2 * s y)) * (p z * s z) + (- (2%:R * c y * s y ^+ 2)) * (p z * c z)) / 4%:R.
    have shift : r y - r z = c y - c z by rewrite /surplus; move: J => j; ring.
    by rewrite /pair_kernel shift; move: (c y) (c z) (s y) (s z) (p z) => a b d e q; field.
  under eq_bigr do rewrite expand.
  rewrite -mulr_suml !big_split /= -!mulr_sumr chances_sum_to_one cs_mean score_mean_zero c_mean -/U -/W -/Q -/C -/S.
  by move: U W Q C S g (c y) (s y) => U' W' Q' C' S' g' a b; congr (_ / _); ring.
rewrite /zeta2; under eq_bigr do rewrite row.
have expand y : p y * (((c y * s y) ^+ 2 + c y ^+ 2 * S + 4%:R * (c y * s y) * g + s y ^+ 2 * C + Q
                        - 2%:R * c y * U - 2%:R * s y * W) / 4%:R)
   = (p y * (c y * s y) ^+ 2 + S * (p y * c y ^+ 2) + 4%:R * g * (p y * (c y * s y)) + C * (p y * s y ^+ 2) + Q * p y
      + (- (2%:R * U)) * (p y * c y) + (- (2%:R * W)) * (p y * s y)) / 4%:R.
  by clear row; move: U W Q C S g (c y) (s y) (p y) => U' W' Q' C' S' g' a b q; field.
under eq_bigr do rewrite expand.
rewrite -mulr_suml !big_split /= -!mulr_sumr chances_sum_to_one cs_mean score_mean_zero c_mean -/Q -/C -/S.
by rewrite /oracle /price -/Q -/C -/S; move: g; clear row expand; move: Q C S => Q' C' S' g'; field.
Qed.

(* N2, as the variance of a U-statistic of pairs: of G - 2 = n, by Hoeffding *)
Theorem variance_is_of_a_u_statistic : variance = (2%:R * n%:R * zeta1 + zeta2) / 'C(G, 2)%:R.
Proof.
have two0 : (2%:R : F) != 0 by rewrite pnatr_eq0.
have four0 : (4%:R : F) != 0 by rewrite pnatr_eq0.
have binomial : ('C(G, 2)%:R : F) = G%:R * n.+1%:R / 2%:R.
  have double : (G * n.+1 = 2 * 'C(G, 2))%N by rewrite -(mul_bin_diag G 1) bin1.
  by rewrite -natrM double natrM mulrC mulKf.
have z1 : zeta1 = oracle / 4%:R by rewrite -four_zeta1_is_the_oracle mulrC mulKf.
have z2 : zeta2 = (oracle + price) / 2%:R by rewrite -two_zeta2_is_oracle_and_price mulrC mulKf.
rewrite variance_of_leave_one_out binomial z1 z2 !natr_succ.
by field; rewrite natr_succ2_neq0 natr_succ_neq0.
Qed.
End Variance.

(* The update of a group whose answers are all different, each rollout's its own index. *)
Lemma update_of_indices (F : numFieldType) n (r s : 'I_n.+2 -> F) : update r s [ffun i => i] = rloo r s.
Proof.
rewrite /update /rloo /estimate; congr (_ / _); apply: eq_bigr => i _.
rewrite /leave_one_out !ffunE; congr ((_ - _ / _) * _).
by apply: eq_bigr => j _; rewrite ffunE.
Qed.
