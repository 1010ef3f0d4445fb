(* The tactics that close certificates: what the ledger decided, stated over the real numbers. Always the same ladder, with
   limits of time and no word about a single goal; what it does not close stays with SymPy or z3. *)
From Coq Require Import Reals Lra Psatz Nsatz.
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
  let n := fresh "n" in
  field_simplify in H; [ | sides ..];
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

Ltac conclusion :=
  lazymatch goal with
  | |- ?a > ?b => apply Rlt_gt; conclusion
  | |- ?a >= ?b => apply Rle_ge; conclusion
  | |- ?a < ?b => apply minus_above; field_simplify; [ | sides ..]; quotient
  | |- ?a <= ?b => apply minus_not_below; field_simplify; [ | sides ..]; quotient
  end
with quotient :=
  lazymatch goal with
  | |- 0 < ?n / ?d => first
      [ apply Rdiv_lt_0_compat; limited nra | apply quotient_above; [nonzero | limited nra] ]
  | |- 0 <= ?n / ?d => first
      [ apply divisor_not_below; limited nra | apply quotient_not_below; [nonzero | limited nra] ]
  | |- _ => limited nra
  end.

Ltac algebra :=
  first
  [ lra
  | lazymatch goal with |- _ = _ => limited (field; sides) | |- _ <> _ => nonzero end
  | limited nra
  | lazymatch goal with |- _ = _ => limited (field_simplify_eq; [solve [nsatz] | sides ..]) end
  | lazymatch goal with |- False => idtac | _ => conclusion end ].

Ltac leaf :=
  first
  [ assumption
  | algebra
  | progress roots; algebra
  | progress (roots; premises); algebra ].

(* Two sides that are the same term, as with most numbers that SymPy has already worked out, need no more. *)
Ltac certify := first [intros; reflexivity | parts; branches; parts; solve [leaf | left; leaf | right; leaf]].

(* A proposition that the ladder closed, with its proof, or one that it left open. *)
Inductive checked (P : Prop) : Type := closed (proof : P) | left_open.

Definition is_closed (P : Prop) (c : checked P) : bool := if c then true else false.

Ltac climb := first [timeout 60 (apply closed; certify) | exact (left_open _)].
