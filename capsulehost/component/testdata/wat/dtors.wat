;; A resource whose destructor makes another one and drops it: as many within
;; each other as run is told.
(component
  (core module $M
    (type $new (func (param i32) (result i32)))
    (type $drop (func (param i32)))
    (table (export "t") 2 funcref)
    (func (export "dtor") (param $n i32)
      (if (i32.gt_u (local.get $n) (i32.const 1))
        (then (call_indirect (type $drop)
          (call_indirect (type $new) (i32.sub (local.get $n) (i32.const 1)) (i32.const 0))
          (i32.const 1)))))
    (func (export "run") (param $n i32)
      (call_indirect (type $drop)
        (call_indirect (type $new) (local.get $n) (i32.const 0))
        (i32.const 1))))
  (core instance $m (instantiate $M))
  (type $C (resource (rep i32) (dtor (core func $m "dtor"))))
  (core func $new (canon resource.new $C))
  (core func $drop (canon resource.drop $C))
  (core module $Fill
    (import "i" "t" (table 2 funcref))
    (import "i" "new" (func $new (param i32) (result i32)))
    (import "i" "drop" (func $drop (param i32)))
    (elem (i32.const 0) $new $drop))
  (core instance (instantiate $Fill (with "i" (instance
    (export "t" (table $m "t")) (export "new" (func $new)) (export "drop" (func $drop))))))
  (func (export "run") (param "n" u32) (canon lift (core func $m "run"))))
