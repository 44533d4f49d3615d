//! `table!`: one declaration that is the struct, its column constants and its place in the schema.

/// Declares a table.
///
/// ```
/// use portcullis_core::store::Filter;
/// portcullis_core::table! {
///     /// A second factor.
///     pub struct TwoFactor in "twoFactor" {
///         /// Row id.
///         id / ID: String = Column::id(),
///         /// Encrypted.
///         secret / SECRET: String = Column::text("secret").indexed().hidden(),
///         /// `None` on rows of older versions.
///         verified / VERIFIED: Option<bool> = Column::bool("verified").default(true),
///         .. extra
///     }
/// }
/// let mine: Filter = TwoFactor::ID.is("x");
/// assert_eq!(TwoFactor::KEY, "twoFactor");
/// assert!(TwoFactor::table().column("secret").is_some_and(|column| column.required));
/// ```
///
/// `Debug` leaves out the values of columns that are `.hidden()`.
///
/// A column is NOT NULL exactly when its Rust type is not an `Option` (or says `.required()`).
/// The first argument of a column's constructor is its key and must be a literal. With `.. extra`
/// the columns that others lent to the table are kept in a field of that name, otherwise dropped.
#[macro_export]
macro_rules! table {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident in $table:literal {
            $(
                $(#[$fmeta:meta])*
                $field:ident / $const:ident : $type:ty =
                    Column :: $ctor:ident ( $($arg:literal),* $(,)? ) $( . $method:ident ( $($marg:tt)* ) )*
            ),* $(,)?
            $( .. $extra:ident $(,)? )?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone)]
        $vis struct $name {
            $( $(#[$fmeta])* pub $field: $type, )*
            $(
                /// Columns that other features or the operator added to this table.
                pub $extra: $crate::store::Row,
            )?
        }

        /// Without the values of hidden columns and without `extra`: they may be secret.
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                let table = Self::table();
                let mut fields = f.debug_struct(stringify!($name));
                $(
                    match table.column($crate::table!(@key $ctor $($arg),*)) {
                        Some(column) if column.returned => fields.field(stringify!($field), &self.$field),
                        _ => fields.field(stringify!($field), &format_args!("…")),
                    };
                )*
                fields.finish_non_exhaustive()
            }
        }

        impl $name {
            /// The table's key.
            pub const KEY: &'static str = $table;
            $(
                $(#[$fmeta])*
                pub const $const: $crate::store::Field<$type> =
                    $crate::store::Field::new($crate::table!(@key $ctor $($arg),*));
            )*

            /// The table's declaration.
            pub fn table() -> $crate::store::Table {
                $crate::store::Table::new($table, vec![$(
                    $crate::store::Column::$ctor($($arg),*)
                        $(.$method($($marg)*))*
                        .required_if(<$type as $crate::store::Cell>::REQUIRED)
                ),*])
            }

            /// From a row of this table.
            ///
            /// # Errors
            /// `StoreError::Decode` when a column is missing or of another type.
            pub fn from_row(mut row: $crate::store::Row) -> Result<Self, $crate::store::StoreError> {
                Ok(Self {
                    $( $field: row.take(Self::KEY, $crate::table!(@key $ctor $($arg),*))?, )*
                    $( $extra: row.fitted(), )?
                })
            }

            /// As a row of this table.
            pub fn into_row(self) -> $crate::store::Row {
                let row: $crate::store::Row = [
                    $( ($crate::table!(@key $ctor $($arg),*), $crate::store::Cell::into_value(self.$field)), )*
                ].into();
                $(
                    let row = {
                        let mut row = row;
                        row.extend(self.$extra);
                        row
                    };
                )?
                row
            }
        }
    };
    // `.. extra` after the brace.
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident in $table:literal { $($body:tt)* } .. $extra:ident
    ) => {
        $crate::table! { $(#[$meta])* $vis struct $name in $table { $($body)* .. $extra } }
    };
    (@key id) => { "id" };
    (@key $ctor:ident $key:literal $(, $more:literal)*) => { $key };
}

pub use table;
