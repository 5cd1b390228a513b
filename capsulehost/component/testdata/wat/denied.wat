;; A component that calls an interface which the host only denies.
(component
  (import "astrid:net/host@1.0.0" (instance $net
    (type $e (variant (case "not-found") (case "capability-denied") (case "unknown" string)))
    (export "error-code" (type $error (eq $e)))
    (export "connection" (type $c (sub resource)))
    (export "dial" (func (param "host" string) (result (result (own $c) (error $error)))))
    (export "[method]connection.send" (func (param "self" (borrow $c)) (param "data" (list u8)) (result (result (error $error)))))
    (export "clock" (func (result u64)))))
  (core module $Libc
    (memory (export "mem") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $libc (instantiate $Libc))
  (alias export $net "dial" (func $dial'))
  (alias export $net "clock" (func $clock'))
  (core func $dial (canon lower (func $dial') (memory (core memory $libc "mem")) (realloc (core func $libc "realloc"))))
  (core func $clock (canon lower (func $clock')))
  (core module $Main
    (import "net" "mem" (memory 1))
    (import "net" "dial" (func $dial (param i32 i32 i32)))
    (import "net" "clock" (func $clock (result i64)))
    (func (export "dial") (result i32)
      (call $dial (i32.const 0) (i32.const 0) (i32.const 16))
      ;; the tag of the result, and the case of the error
      (i32.add (i32.mul (i32.load8_u (i32.const 16)) (i32.const 100)) (i32.load8_u (i32.const 20))))
    (func (export "clock") (result i64) (call $clock)))
  (core instance $main (instantiate $Main (with "net" (instance
    (export "mem" (memory $libc "mem")) (export "dial" (func $dial)) (export "clock" (func $clock))))))
  (func (export "dial") (result u32) (canon lift (core func $main "dial")))
  (func (export "clock") (result u64) (canon lift (core func $main "clock"))))
