(* The tactics that close certificates: what the ledger decided, stated over the real numbers. Always the same ladder, with
   limits of time and no word about a single goal; what it does not close stays with SymPy or z3. *)
From Coq Require Import Factorial Reals Lra Lia Psatz Nsatz.
Local Open Scope R_scope.

(* A quotient compared with zero, without its divisor. *)
Lemma quotient_above n d : d <> 0 -> 0 < n * d -> 0 < n / d.
Proof.
intros nonzero above; replace (n / d) with (n * d * (/ d * / d)) by (field; assumption).
apply Rmult_lt_0_compat; [assumption | nra || (apply Rsqr_pos_lt; apply Rinv_neq_0_compat; assumption)].
Qed.

Lemma quotient_not_below n d : d <> 0 -> 0 <= n * d -> 0 <= n / d.
Proof.
intros nonzero above; replace (n / d) with (n * d * (/ d * / d)) by (field; assumption).
apply Rmult_le_pos; [assumption | apply Rle_0_sqr].
Qed.

Lemma above_by_quotient n d : d <> 0 -> 0 < n / d -> 0 < n * d.
Proof.
intros nonzero above; replace (n * d) with (n / d * (d * d)) by (field; assumption).
apply Rmult_lt_0_compat; [assumption | apply Rsqr_pos_lt; assumption].
Qed.

Lemma not_below_by_quotient n d : d <> 0 -> 0 <= n / d -> 0 <= n * d.
Proof.
intros nonzero above; replace (n * d) with (n / d * (d * d)) by (field; assumption).
apply Rmult_le_pos; [assumption | apply Rle_0_sqr].
Qed.

Lemma above_if_divisor n d : 0 < d -> 0 < n / d -> 0 < n.
Proof.
intros above quotient; replace n with (n / d * d) by (field; lra); apply Rmult_lt_0_compat; assumption.
Qed.

Lemma not_below_if_divisor n d : 0 < d -> 0 <= n / d -> 0 <= n.
Proof.
intros above quotient; replace n with (n / d * d) by (field; lra); apply Rmult_le_pos; lra.
Qed.

Lemma divisor_not_below n d : 0 < d -> 0 <= n -> 0 <= n / d.
Proof. intros above low; apply Rmult_le_pos; [assumption | apply Rlt_le, Rinv_0_lt_compat; assumption]. Qed.

Lemma zero_by_quotient n d : d <> 0 -> n / d = 0 -> n = 0.
Proof. intros nonzero zero; replace n with (n / d * d) by (field; assumption); rewrite zero; ring. Qed.

Lemma minus_above a b : a < b <-> 0 < b - a.
Proof. split; lra. Qed.

Lemma minus_not_below a b : a <= b <-> 0 <= b - a.
Proof. split; lra. Qed.

Lemma minus_zero a b : a = b -> a - b = 0.
Proof. lra. Qed.

Tactic Notation "limited" tactic3(tactic) := timeout 10 tactic.

(* A sum, product, power or quotient of what is above zero. *)
Ltac positive :=
  first
  [ assumption
  | lra
  | lazymatch goal with
    | |- _ > 0 => apply Rlt_gt; positive
    | |- 0 < _ * _ => apply Rmult_lt_0_compat; positive
    | |- 0 < _ ^ _ => apply pow_lt; positive
    | |- 0 < _ / _ => apply Rdiv_lt_0_compat; positive
    | |- 0 < / _ => apply Rinv_0_lt_compat; positive
    | |- 0 < sqrt _ => apply sqrt_lt_R0; positive
    | |- 0 < exp _ => apply exp_pos
    | |- 0 < _ + _ => apply Rplus_lt_0_compat; positive
    end ].

(* A divisor is not zero: it is stated, a product of such, decided by order, or else what is stated would be zero. *)
Ltac nonzero :=
  first
  [ assumption
  | lra
  | progress repeat (apply Rmult_integral_contrapositive_currified || apply pow_nonzero); nonzero
  | match goal with H : _ <> 0 |- _ <> 0 => let E := fresh in intro E; apply H; first [lra | limited (solve [nsatz])] end
  | match goal with
    | H : _ <> 0 |- _ <> 0 => let E := fresh in
        intro E; apply H; field_simplify_eq; [first [lra | limited (solve [nsatz])] | repeat split; first [assumption | lra] ..]
    end
  | apply Rgt_not_eq; positive
  | apply Rgt_not_eq; limited nra
  | apply Rlt_not_eq; limited nra ].

Ltac sides := repeat split; nonzero.

(* The square root of u is a number r with 0 <= r and r r = u, if 0 <= u. *)
Ltac root u :=
  lazymatch u with context [sqrt _] => fail | _ => idtac end;
  let low := fresh "low" in let r := fresh "r" in let pos := fresh "pos" in let square := fresh "square" in
  assert (low : 0 <= u) by first [assumption | lra | limited nra];
  pose proof (sqrt_pos u) as pos; pose proof (sqrt_sqrt u low) as square;
  try (let above := fresh "above" in assert (above : 0 < u) by first [assumption | lra]; apply sqrt_lt_R0 in above);
  set (r := sqrt u) in *; clearbody r; try subst u.

Ltac roots := repeat match goal with
  | |- context [sqrt ?u] => root u
  | H : context [sqrt ?u] |- _ => root u
  end.

Ltac branches := unfold Rmax, Rmin, Rabs in *; repeat match goal with
  | |- context [Rlt_dec ?a ?b] => destruct (Rlt_dec a b)
  | |- context [Rle_dec ?a ?b] => destruct (Rle_dec a b)
  | |- context [Rgt_dec ?a ?b] => destruct (Rgt_dec a b)
  | |- context [Rge_dec ?a ?b] => destruct (Rge_dec a b)
  | |- context [Req_EM_T ?a ?b] => destruct (Req_EM_T a b)
  | |- context [Rcase_abs ?a] => destruct (Rcase_abs a)
  | H : context [Rlt_dec ?a ?b] |- _ => destruct (Rlt_dec a b)
  | H : context [Rle_dec ?a ?b] |- _ => destruct (Rle_dec a b)
  | H : context [Rgt_dec ?a ?b] |- _ => destruct (Rgt_dec a b)
  | H : context [Rge_dec ?a ?b] |- _ => destruct (Rge_dec a b)
  | H : context [Req_EM_T ?a ?b] |- _ => destruct (Req_EM_T a b)
  | H : context [Rcase_abs ?a] |- _ => destruct (Rcase_abs a)
  end.

Ltac parts := repeat match goal with
  | |- forall _, _ => intro
  | |- ~ ?p => lazymatch p with _ = _ => fail | _ => intro end
  | |- _ /\ _ => split
  | |- _ <-> _ => split
  | H : _ /\ _ |- _ => destruct H
  | H : _ \/ _ |- _ => destruct H
  | H : _ <-> _ |- _ => destruct H
  | H : False |- _ => destruct H
  | H : True -> _ |- _ => specialize (H I)
  | H : ?c -> _, K : ?c |- _ => specialize (H K)
  | H : ?a = ?a -> _ |- _ => specialize (H eq_refl)
  | H : ?v = _ |- _ => is_var v; subst v
  | H : _ = ?v |- _ => is_var v; subst v
  end.

(* Quotients by more than a number in a premise: what it says without them. *)
Ltac divided t :=
  match t with
  | context [_ / ?d] => lazymatch d with IZR _ => fail | _ => idtac end
  | context [/ ?d] => lazymatch d with IZR _ => fail | _ => idtac end
  end.

Ltac clear_premise H :=
  let t := match type of H with 0 < ?t => t | 0 <= ?t => t | ?t = 0 => t end in
  revert H; field_simplify t; [ | sides ..]; intro H;
  match type of H with
  | 0 < ?n / ?d => apply above_if_divisor in H; [ | limited nra]
  | 0 < ?n / ?d => apply above_by_quotient in H; [ | nonzero]
  | 0 <= ?n / ?d => apply not_below_if_divisor in H; [ | limited nra]
  | 0 <= ?n / ?d => apply not_below_by_quotient in H; [ | nonzero]
  | ?n / ?d = 0 => apply zero_by_quotient in H; [ | nonzero]
  end.

Ltac premises := repeat match goal with
  | H : ?a < ?b |- _ => divided (a - b); apply minus_above in H; clear_premise H
  | H : ?a > ?b |- _ => divided (a - b); apply Rgt_lt in H
  | H : ?a <= ?b |- _ => divided (a - b); apply minus_not_below in H; clear_premise H
  | H : ?a >= ?b |- _ => divided (a - b); apply Rge_le in H
  | H : ?a = ?b |- _ => divided (a - b); apply minus_zero in H; clear_premise H
  end.

Ltac conclusion polynomial :=
  lazymatch goal with
  | |- ?a > ?b => apply Rlt_gt; conclusion polynomial
  | |- ?a >= ?b => apply Rle_ge; conclusion polynomial
  | |- ?a < ?b => apply minus_above; field_simplify; [ | sides ..]; quotient polynomial
  | |- ?a <= ?b => apply minus_not_below; field_simplify; [ | sides ..]; quotient polynomial
  end
with quotient polynomial :=
  lazymatch goal with
  | |- 0 < ?n / ?d => first
      [ apply Rdiv_lt_0_compat; polynomial | apply quotient_above; [nonzero | polynomial] ]
  | |- 0 <= ?n / ?d => first
      [ apply divisor_not_below; polynomial | apply quotient_not_below; [nonzero | polynomial] ]
  | |- _ => polynomial
  end.

Ltac algebra :=
  first
  [ lra
  | lazymatch goal with |- _ = _ => limited (field; sides) | |- _ <> _ => nonzero end
  | limited nra
  | lazymatch goal with |- _ = _ => limited (field_simplify_eq; [solve [nsatz] | sides ..]) end
  | lazymatch goal with |- False => idtac | _ => conclusion ltac:(limited nra) end ].

Ltac leaf :=
  first
  [ assumption
  | algebra
  | progress roots; algebra
  | progress (roots; premises); algebra ].

(* Two sides that are the same term, as with most numbers that SymPy has already worked out, need no more. *)
Ltac certify := cbv beta; first [intros; reflexivity | parts; branches; parts; solve [leaf | left; leaf | right; leaf]].

(* The second half of the ladder, for what the first leaves open. *)
Lemma equal_by_squares x y : x * x = y * y -> 0 <= x * y -> x = y.
Proof.
intros squares sign; destruct (Rmult_integral (x - y) (x + y)) as [zero|zero]; [lra | lra | ].
assert (x * x = 0) by nra; assert (x = 0) by nra; lra.
Qed.

Lemma one_of_two a b c d : (a - b) * (c - d) = 0 -> a = b \/ c = d.
Proof. intros zero; apply Rmult_integral in zero; destruct zero; [left | right]; lra. Qed.

Lemma root_between a q b : 0 <= a -> 0 <= b -> a * a <= q -> q <= b * b -> a <= sqrt q <= b.
Proof.
intros a0 b0 low high; rewrite <- (sqrt_square a a0), <- (sqrt_square b b0).
split; apply sqrt_le_1_alt; assumption.
Qed.

Lemma exp_multiple n x : exp (INR n * x) = exp x ^ n.
Proof.
induction n as [|n known]; [rewrite Rmult_0_l; apply exp_0 | ].
rewrite S_INR, Rmult_plus_distr_r, Rmult_1_l, exp_plus, known; simpl; ring.
Qed.

Lemma exp_whole p x : exp (IZR (Zpos p) * x) = exp x ^ Pos.to_nat p.
Proof.
rewrite <- exp_multiple, INR_IZR_INZ; replace (Z.of_nat (Pos.to_nat p)) with (Zpos p) by lia; reflexivity.
Qed.

Lemma exp_share p q : exp (IZR (Zpos p) / IZR q) = exp (1 / IZR q) ^ Pos.to_nat p.
Proof. rewrite <- exp_whole; f_equal; unfold Rdiv; ring. Qed.

Lemma exp_numeral p q : exp (IZR (Zpos p)) = exp (1 / IZR (Zpos q)) ^ Pos.to_nat (p * q).
Proof.
rewrite <- exp_whole; f_equal; rewrite Pos2Z.inj_mul, mult_IZR; field; apply not_0_IZR; discriminate.
Qed.

Lemma exp_ones p : exp (IZR (Zpos p)) = exp 1 ^ Pos.to_nat p.
Proof. rewrite <- exp_whole; f_equal; ring. Qed.

Lemma exp_opposite x : exp (-1 * x) = / exp x.
Proof. rewrite <- exp_Ropp; f_equal; ring. Qed.

(* By its series: what the library has of the growth of exp rests on an axiom more. *)
Lemma exp_above_line x : 0 < x -> 1 + x < exp x.
Proof.
intros above; unfold exp; destruct (exist_exp x) as [y sums]; simpl.
assert (below : sum_f_R0 (fun i => / INR (fact i) * x ^ i) 2 <= y).
  apply sum_incr; [exact sums | intro n].
  apply Rmult_le_pos; [apply Rlt_le, Rinv_0_lt_compat, INR_fact_lt_0 | apply pow_le; lra].
simpl in below; nra.
Qed.

Lemma exp_below_one x : x < 0 -> exp x < 1.
Proof.
intros below; assert (above := exp_above_line (- x) ltac:(lra)); rewrite exp_Ropp in above.
assert (positive := exp_pos x); assert (inverse := Rinv_r (exp x) (Rgt_not_eq _ _ positive)); nra.
Qed.

(* Exponentials of sums, opposites and multiples as products, quotients and powers; then each a number above zero. *)
Ltac counted p := let n := eval compute in (Pos.to_nat p) in change (Pos.to_nat p) with n.

Ltac unit_of_numeral p := match goal with
  | |- context [exp (_ / IZR (Zpos ?q))] => rewrite (exp_numeral p q); counted (p * q)%positive
  | _ => lazymatch p with xH => fail | _ => rewrite (exp_ones p); counted p end
  end.

Ltac exponentials :=
  repeat match goal with
  | |- context [exp 0] => rewrite exp_0
  | |- context [exp (_ + _)] => rewrite exp_plus
  | |- context [exp (- _)] => rewrite exp_Ropp
  | |- context [exp (-1 * _)] => rewrite exp_opposite
  | |- context [exp (- 1 * _)] => rewrite exp_opposite
  | |- context [exp (IZR (Zneg ?p))] => change (IZR (Zneg p)) with (- IZR (Zpos p)); rewrite exp_Ropp
  | |- context [exp (IZR (Zpos ?p) / IZR ?q)] => lazymatch p with xH => fail | _ => rewrite (exp_share p q); counted p end
  | |- context [exp (IZR (Zpos ?p) * ?x)] => lazymatch p with xH => fail | _ => rewrite (exp_whole p x); counted p end
  | |- context [exp (IZR (Zpos ?p))] => unit_of_numeral p
  end;
  repeat match goal with
  | |- context [exp ?x] =>
      let e := fresh "e" in pose proof (exp_pos x);
      try pose proof (exp_above_line x ltac:(lra)); try pose proof (exp_below_one x ltac:(lra));
      set (e := exp x) in *; clearbody e
  end;
  repeat match goal with
  | H : 0 < ?e |- context [?e ^ ?n] =>
      lazymatch goal with _ : 0 < e ^ n |- _ => fail | _ => pose proof (pow_lt e n H) end
  end.

(* The root of a number, to twenty digits. *)
Ltac root_of_numeral q n d :=
  let s := eval vm_compute in (Z.sqrt (n * d * 10 ^ 40)) in
  let above := eval vm_compute in (s + 1)%Z in
  let unit := eval vm_compute in (d * 10 ^ 20)%Z in
  pose proof (root_between (IZR s / IZR unit) q (IZR above / IZR unit) ltac:(lra) ltac:(lra) ltac:(lra) ltac:(lra));
  pose proof (sqrt_sqrt q ltac:(lra));
  let r := fresh "r" in set (r := sqrt q) in *; clearbody r.

Ltac roots_of_numerals := repeat match goal with
  | |- context [sqrt (IZR ?n)] => root_of_numeral (IZR n) n 1%Z
  | |- context [sqrt (IZR ?n / IZR ?d)] => root_of_numeral (IZR n / IZR d) n d
  | H : context [sqrt (IZR ?n)] |- _ => root_of_numeral (IZR n) n 1%Z
  | H : context [sqrt (IZR ?n / IZR ?d)] |- _ => root_of_numeral (IZR n / IZR d) n d
  end.

(* Equal arguments of roots written alike, the root of a quotient as a quotient of roots. *)
Ltac alike u :=
  field_simplify u; [ | sides ..];
  try match goal with |- context [sqrt (?n / ?d)] =>
    lazymatch d with IZR _ => fail | _ => rewrite (sqrt_div_alt n d) by first [assumption | lra | limited nra] end end.

Ltac roots_alike :=
  repeat match goal with
  | |- context [sqrt ?u] => lazymatch u with context [sqrt _] => fail | _ => progress (alike u) end
  end;
  repeat match goal with
  | |- context [sqrt ?u] => match goal with
      |- context [sqrt ?v] => tryif constr_eq u v then fail else replace v with u by ring
      end
  end.

(* What is not zero has an inverse, a letter more: the ideal of the premises then knows it. *)
Ltac inverse d is_nonzero :=
  lazymatch goal with _ : d * _ = 1 |- _ => fail | _ => idtac end;
  let i := fresh "i" in let E := fresh "inverse" in
  pose proof (Rinv_r d is_nonzero) as E; set (i := / d) in *; clearbody i.

Ltac divisor d :=
  lazymatch d with context [/ _] => fail | _ => idtac end;
  let E := fresh in assert (E : d <> 0) by nonzero; inverse d E; clear E.

Ltac divisors := unfold Rdiv in *; repeat match goal with
  | |- context [/ ?d] => divisor d
  | H : context [/ ?d] |- _ => divisor d
  end.

Ltac inverses := repeat match goal with
  | H : ?d <> 0 |- _ => inverse d H
  | H : 0 < ?d |- _ => inverse d (Rgt_not_eq d 0 H)
  | H : ?a < ?b |- _ => lazymatch a with 0 => fail | _ => inverse (b - a) (Rminus_eq_contra b a (Rgt_not_eq b a H)) end
  | H : ?a > ?b |- _ => inverse (a - b) (Rminus_eq_contra a b (Rgt_not_eq a b H))
  end.

(* Only equations, one variable after the other: other premises lead nsatz astray. *)
Ltac equations := repeat match goal with
  | H : ?p |- _ => lazymatch type of p with Prop => lazymatch p with @eq R _ _ => fail | _ => clear H end end
  end;
  cbn [Rpow_def.pow] in *; repeat match goal with H : @eq R _ _ |- _ => revert H end; intros.

Ltac member := divisors; first [equations; limited (solve [nsatz]) | inverses; equations; limited (solve [nsatz])].

Ltac ideal :=
  lazymatch goal with
  | |- _ = _ => member
  | |- _ \/ _ => apply one_of_two; member
  | |- _ <> _ => intro; apply R1_neq_R0; member
  | |- False => apply R1_neq_R0; member
  end.

(* Which variables have had their turn. *)
Definition mark (v : R) := True.

(* A square for each variable in which what is to be shown may be a parabola, one for each two variables. *)
Ltac parabola n v :=
  let f := eval pattern v in n in
  match f with ?g _ =>
    let at_one := eval cbv beta in (g 1) in
    let at_none := eval cbv beta in (g 0) in
    let at_minus := eval cbv beta in (g (-1)) in
    let a := constr:(at_one + at_minus - 2 * at_none) in
    let b := constr:((at_one - at_minus) / 2) in
    pose proof (Rle_0_sqr (a * v + b) : 0 <= (a * v + b) * (a * v + b));
    try (let above := fresh in assert (above : 0 < a) by first [lra | limited nra]; pose proof above)
  end.

Ltac not_zero_squares := repeat match goal with
  | H : ?d <> 0 |- _ => lazymatch goal with _ : 0 < d * d |- _ => fail | _ => pose proof (Rsqr_pos_lt d H : 0 < d * d) end
  end.

Ltac parabolas n := repeat match goal with
  v : R |- _ => lazymatch n with context [v] => idtac | _ => fail end;
    lazymatch goal with _ : mark v |- _ => fail | _ => assert (mark v) by exact I end; parabola n v
  end.

(* Which products have been formed. *)
Definition multiplied (a b : R) := True.

(* The products of every two premises that something is above zero, or not below it. *)
Ltac above_zero := repeat match goal with
  | H : ?a > ?b |- _ => apply Rgt_lt in H
  | H : ?a >= ?b |- _ => apply Rge_le in H
  | H : ?a < ?b |- _ => lazymatch a with 0 => fail | _ => apply minus_above in H end
  | H : ?a <= ?b |- _ => lazymatch a with 0 => fail | _ => apply minus_not_below in H end
  end.

Ltac not_yet a b :=
  lazymatch goal with _ : multiplied a b |- _ => fail | _ : multiplied b a |- _ => fail | _ => idtac end;
  assert (multiplied a b) by exact I.

(* Without premises that have no variable in common with what is to be shown. *)
Ltac relevant := repeat match goal with
  H : ?p |- ?g => lazymatch type of p with Prop => idtac end;
    tryif match goal with v : R |- _ => match p with context [v] => match g with context [v] => idtac end end end
    then fail else clear H
  end.

Ltac products :=
  above_zero; relevant;
  repeat match goal with
  | H : 0 < ?a, K : 0 < ?b |- _ => not_yet a b; generalize (Rmult_lt_0_compat a b H K)
  | H : 0 < ?a, K : 0 <= ?b |- _ => not_yet a b; generalize (Rmult_le_pos a b (Rlt_le 0 a H) K)
  | H : 0 <= ?a, K : 0 <= ?b |- _ => not_yet a b; generalize (Rmult_le_pos a b H K)
  end;
  intros.

Ltac with_squares := first
  [ limited nra
  | products; limited nra
  | not_zero_squares;
    lazymatch goal with
    | |- 0 <= ?n => parabolas n
    | |- 0 < ?n => parabolas n
    | |- _ => idtac
    end;
    limited nra ].

Ltac by_squares := field_simplify_eq; [ | sides ..]; apply equal_by_squares; [equations; limited (solve [nsatz]) | limited nra].

Ltac further :=
  first
  [ ideal
  | lazymatch goal with |- _ = _ => by_squares | |- False => with_squares | |- _ <> _ => nonzero | _ => conclusion with_squares end ].

Ltac leaf_again :=
  first
  [ first [algebra | further]
  | progress exponentials; first [algebra | further]
  | progress roots_of_numerals; first [algebra | further]
  | progress (roots_alike; roots); first [algebra | further]
  | progress (roots; premises); first [algebra | further] ].

Ltac apart :=
  repeat match goal with
  | H : ?a <> ?b |- _ => lazymatch b with 0 => fail | _ => apply Rminus_eq_contra in H end
  end;
  repeat match goal with
  | v : R |- _ => lazymatch goal with _ : 0 < v |- _ => fail | _ => assert (0 < v) by lra end
  | v : R |- _ => lazymatch goal with _ : 0 < v - 1 |- _ => fail | _ => assert (0 < v - 1) by lra end
  end.

Ltac certify_again := cbv beta; parts; apart; branches; parts; solve [leaf_again | left; leaf_again | right; leaf_again].

(* Derivatives: rules for the functions that are printed, in the form in which they are printed. *)
Lemma slope_of_sum f g x a b :
  derivable_pt_lim f x a -> derivable_pt_lim g x b -> derivable_pt_lim (fun y => f y + g y) x (a + b).
Proof. exact (derivable_pt_lim_plus f g x a b). Qed.

Lemma slope_of_product f g x a b :
  derivable_pt_lim f x a -> derivable_pt_lim g x b ->
  derivable_pt_lim (fun y => f y * g y) x (a * g x + f x * b).
Proof. exact (derivable_pt_lim_mult f g x a b). Qed.

Lemma slope_of_composition f g x a b :
  derivable_pt_lim f x a -> derivable_pt_lim g (f x) b -> derivable_pt_lim (fun y => g (f y)) x (b * a).
Proof. exact (derivable_pt_lim_comp f g x a b). Qed.

Lemma slope_of_quotient f g x a b :
  derivable_pt_lim f x a -> derivable_pt_lim g x b -> g x <> 0 ->
  derivable_pt_lim (fun y => f y / g y) x ((a * g x - b * f x) / (g x * g x)).
Proof. exact (derivable_pt_lim_div f g x a b). Qed.

Lemma slope_of_inverse g x b :
  derivable_pt_lim g x b -> g x <> 0 -> derivable_pt_lim (fun y => / g y) x (- b / (g x * g x)).
Proof.
intros slope nonzero; apply (derivable_pt_lim_ext (fun y => 1 / g y)); [intro; unfold Rdiv; ring | ].
replace (- b / (g x * g x)) with ((0 * g x - b * 1) / (g x * g x)) by (field; assumption).
exact (slope_of_quotient (fun _ => 1) g x 0 b (derivable_pt_lim_const 1 x) slope nonzero).
Qed.

Lemma slope_of_power f x a n k :
  k = INR (S n) -> derivable_pt_lim f x a -> derivable_pt_lim (fun y => f y ^ S n) x (k * f x ^ n * a).
Proof.
intros -> slope; exact (slope_of_composition f (fun y => y ^ S n) x a _ slope (derivable_pt_lim_pow (f x) (S n))).
Qed.

(* All that is used of the logarithm: what it is but for a constant. Coq's own rests on an axiom more. *)
Definition is_logarithm f := forall y, 0 < y -> derivable_pt_lim f y (/ y).

Ltac slope := cbv beta; match goal with
  | |- derivable_pt_lim (fun y => y) _ _ => exact (derivable_pt_lim_id _)
  | |- derivable_pt_lim (fun _ => ?c) ?x _ => exact (derivable_pt_lim_const c x)
  | |- derivable_pt_lim (fun y => @?f y + @?g y) ?x _ => eapply (slope_of_sum f g); slope
  | |- derivable_pt_lim (fun y => @?f y * @?g y) ?x _ => eapply (slope_of_product f g); slope
  | |- derivable_pt_lim (fun y => @?f y / @?g y) ?x _ => eapply (slope_of_quotient f g); [slope | slope | cbv beta; nonzero]
  | |- derivable_pt_lim (fun y => / @?g y) ?x _ => eapply (slope_of_inverse g); [slope | cbv beta; nonzero]
  | |- derivable_pt_lim (fun y => @?f y ^ S ?n) ?x _ =>
    let k := eval compute in (Z.of_nat (S n)) in eapply (slope_of_power f x _ n (IZR k)); [simpl; lra | slope]
  | |- derivable_pt_lim (fun y => sqrt (@?f y)) ?x _ =>
    eapply (slope_of_composition f sqrt); [slope | cbv beta; apply derivable_pt_lim_sqrt; positive]
  | |- derivable_pt_lim (fun y => exp (@?f y)) ?x _ =>
    eapply (slope_of_composition f exp); [slope | apply derivable_pt_lim_exp]
  | rule : is_logarithm ?logarithm |- derivable_pt_lim (fun y => ?logarithm (@?f y)) ?x _ =>
    eapply (slope_of_composition f logarithm); [slope | cbv beta; apply rule; first [assumption | positive]]
  end.

(* A derivative is a number that exists, and the rules find it; what is said of it is left. *)
Ltac slopes := lazymatch goal with
  | |- context [derivable_pt_lim] =>
    parts; repeat match goal with |- exists _ : R, _ => eexists; split; [slope | cbv beta; simpl pow] end;
    repeat match goal with rule : is_logarithm _ |- _ => clear rule end
  | _ => idtac
  end.

(* Comparisons of floats with roots of numbers. What is between two ends is compared by its ends. *)
Lemma by_upper_end v e a t : v <= e -> e <= a + t -> v <= a + t.
Proof. lra. Qed.

Lemma by_lower_end v e a t : v >= e -> a <= e + t -> a <= v + t.
Proof. lra. Qed.

Ltac at_an_end := match goal with
  | H : ?v <= ?e |- ?v <= _ + _ => is_var v; apply (by_upper_end v e _ _ H)
  | H : ?v >= ?e |- _ <= ?v + _ => is_var v; apply (by_lower_end v e _ _ H)
  end.

Ltac of_numerals :=
  lazymatch goal with |- context [sqrt (IZR _)] => idtac | |- context [sqrt (IZR _ / IZR _)] => idtac end;
  intros; roots_of_numerals; repeat split;
  first [lra | nonzero | at_an_end; first [lra | conclusion ltac:(first [lra | limited nra])]].

(* A proposition that the ladder closed, with its proof, or one that it left open. *)
Inductive checked (P : Prop) : Type := closed (proof : P) | left_open.

Definition is_closed (P : Prop) (c : checked P) : bool := if c then true else false.

Ltac climb := first [
  timeout 20 (apply closed; of_numerals) | timeout 60 (apply closed; slopes; certify) | timeout 60 (apply closed; slopes; certify_again) | exact (left_open _)].
