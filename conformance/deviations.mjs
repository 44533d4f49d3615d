// Where Portcullis answers differently on purpose. Every row is also in COMPATIBILITY.md under its id.
//
//   { id, case: "the case's name", differs: ["paths that differ"], reason }
//
// The suite fails when a listed case no longer differs at exactly these paths, so the list stays true.
export const deviations = [];
